package bom

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

var designator = regexp.MustCompile(`^([A-Za-z]{1,5})(\d{1,5})(?:-([A-Za-z]{0,5})(\d{1,5}))?$`)

const maxDesignators = 10_000

// Designators expands a list of reference designators, "C1, C3-C5".
func Designators(s string) ([]string, error) {
	var out []string
	for _, f := range strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ';' || r == ' ' }) {
		m := designator.FindStringSubmatch(f)
		if m == nil {
			return nil, fmt.Errorf("%.40q is no reference designator", f)
		}
		from, _ := strconv.Atoi(m[2])
		to := from
		if m[4] != "" {
			to, _ = strconv.Atoi(m[4])
		}
		if to < from || m[3] != "" && m[3] != m[1] || len(out)+to-from >= maxDesignators {
			return nil, fmt.Errorf("%.40q is no range", f)
		}
		for n := from; n <= to; n++ {
			out = append(out, m[1]+strconv.Itoa(n))
		}
	}
	return out, nil
}
