// Command ratios reads what "go test -bench" prints, of several runs, and tells how
// each contender stands to the one that it is held against: "by=assay" to a floor or
// to another program's code, in the same run on the same machine.
//
//	go test -run '^$' -bench . -count 5 . | ratios [-check] targets.tsv
//
// Each line of targets.tsv has a benchmark, two contenders, the ratio of their times
// that is aimed at, and the ratio when it was last written down. With -check it fails
// when a ratio is half as large again: when the speed fell by a third.
package main

import (
	"bufio"
	"cmp"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
)

func main() {
	check := flag.Bool("check", false, "fail when a ratio is worse by a third than it was")
	flag.Parse()
	if err := run(os.Stdin, os.Stdout, flag.Arg(0), *check); err != nil {
		fmt.Fprintln(os.Stderr, "ratios:", err)
		os.Exit(1)
	}
}

// target is one line of targets.tsv.
type target struct {
	benchmark, of, to string
	aim, seen         float64
}

// times are those of each contender of each benchmark, in nanoseconds, by run.
type times map[string]map[string][]float64

func run(in io.Reader, out io.Writer, file string, check bool) error {
	ts, err := targets(file)
	if err != nil {
		return err
	}
	all, err := read(in)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "benchmark\tof\tto\tmin\tmedian\taim\twas\t")
	var worse []string
	for _, t := range ts {
		rs := ratios(all[t.benchmark][t.of], all[t.benchmark][t.to])
		if rs == nil {
			fmt.Fprintf(w, "%s\t%s\t%s\tnot run\t\t%s\t%s\t\n", t.benchmark, t.of, t.to, figure(t.aim), figure(t.seen))
			continue
		}
		least, middle := rs[0], rs[len(rs)/2]
		note := ""
		if t.aim > 0 && middle > t.aim {
			note = "misses its aim"
		}
		if t.seen > 0 && least > 1.5*t.seen {
			note = "slower by a third"
			worse = append(worse, t.benchmark)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", t.benchmark, t.of, t.to, figure(least), figure(middle), figure(t.aim), figure(t.seen), note)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if check && len(worse) > 0 {
		return fmt.Errorf("slower by a third than written down: %s", strings.Join(worse, ", "))
	}
	return nil
}

func figure(r float64) string {
	if r == 0 {
		return "-"
	}
	return strconv.FormatFloat(r, 'g', 3, 64)
}

// ratios are those of the runs, sorted.
func ratios(of, to []float64) []float64 {
	n := min(len(of), len(to))
	if n == 0 {
		return nil
	}
	out := make([]float64, n)
	for i := range n {
		out[i] = of[i] / to[i]
	}
	slices.SortFunc(out, func(a, b float64) int { return cmp.Compare(a, b) })
	return out
}

// result is a line of a benchmark: its name without the number of processors.
var result = regexp.MustCompile(`^(Benchmark\S+)/by=([^/\s]+?)(?:-\d+)?\s+\d+\s+([0-9.e+]+) ns/op`)

func read(in io.Reader) (times, error) {
	out := times{}
	s := bufio.NewScanner(in)
	for s.Scan() {
		m := result.FindStringSubmatch(s.Text())
		if m == nil {
			continue
		}
		ns, err := strconv.ParseFloat(m[3], 64)
		if err != nil {
			return nil, err
		}
		if out[m[1]] == nil {
			out[m[1]] = map[string][]float64{}
		}
		out[m[1]][m[2]] = append(out[m[1]][m[2]], ns)
	}
	return out, s.Err()
}

func targets(file string) ([]target, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var out []target
	for i, line := range strings.Split(strings.TrimSpace(string(raw)), "\n") {
		if strings.HasPrefix(line, "#") {
			continue
		}
		f := strings.Split(line, "\t")
		if len(f) != 5 {
			return nil, fmt.Errorf("%s: line %d: %d fields, want 5", file, i+1, len(f))
		}
		t := target{benchmark: f[0], of: f[1], to: f[2]}
		for _, x := range []struct {
			text string
			to   *float64
		}{{f[3], &t.aim}, {f[4], &t.seen}} {
			if x.text == "-" {
				continue
			}
			if *x.to, err = strconv.ParseFloat(x.text, 64); err != nil {
				return nil, fmt.Errorf("%s: line %d: %w", file, i+1, err)
			}
		}
		out = append(out, t)
	}
	return out, nil
}
