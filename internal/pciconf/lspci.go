package pciconf

import (
	"bufio"
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Dump is the configuration space of one function out of lspci -x, -xxx or
// -xxxx. Missing lines read as zero and are reported.
type Dump struct {
	Address string // "0000:02:00.0"
	Offset  int    // of the function's first line in the text
	Config  []byte
}

var (
	lspciAddress = regexp.MustCompile(`^((?:[0-9a-fA-F]{4,8}:)?[0-9a-fA-F]{2}:[0-9a-fA-F]{2}\.[0-7])(?:\s|$)`)
	lspciHex     = regexp.MustCompile(`^([0-9a-fA-F]{2,3}):((?: [0-9a-fA-F]{2}){1,16})\s*$`)
)

// ParseLspci reads the hexadecimal dumps in lspci output, in order of
// appearance; a function that is listed without one is left out.
func ParseLspci(text []byte) ([]Dump, []Problem) {
	var out []Dump
	var problems []Problem
	offset := 0
	current := Dump{}
	finish := func() {
		if len(current.Config) > 0 {
			out = append(out, current)
		}
		current = Dump{}
	}
	s := bufio.NewScanner(bytes.NewReader(text))
	s.Buffer(nil, 1<<16)
	for s.Scan() {
		line := s.Text()
		if m := lspciAddress.FindStringSubmatch(line); m != nil {
			finish()
			current = Dump{Address: fullAddress(m[1]), Offset: offset}
		} else if m := lspciHex.FindStringSubmatch(line); m != nil && current.Address != "" {
			at, _ := strconv.ParseUint(m[1], 16, 16)
			if int(at) != len(current.Config) {
				problems = append(problems, Problem{offset, fmt.Sprintf("%s: line 0x%x where 0x%x was expected", current.Address, at, len(current.Config))})
			}
			current.put(int(at), strings.Fields(m[2]))
		}
		offset += len(line) + 1
	}
	finish()
	if err := s.Err(); err != nil {
		problems = append(problems, Problem{offset, err.Error()})
	}
	return out, problems
}

func fullAddress(s string) string {
	s = strings.ToLower(s)
	if strings.Count(s, ":") == 1 {
		return "0000:" + s
	}
	return s
}

func (d *Dump) put(at int, digits []string) {
	if end := min(at+len(digits), 4096); end > len(d.Config) {
		d.Config = append(d.Config, make([]byte, end-len(d.Config))...)
	}
	for i, h := range digits {
		if n, err := strconv.ParseUint(h, 16, 8); err == nil && at+i < len(d.Config) {
			d.Config[at+i] = byte(n)
		}
	}
}
