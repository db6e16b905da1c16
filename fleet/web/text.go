package web

import (
	"bytes"
	"fmt"
	"html/template"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/assay-hw/assay/fleet"
	"github.com/assay-hw/assay/report"
)

// moment is a time as it is told everywhere: the same for all who read, and how
// far away.
type moment struct{ t, now time.Time }

// Zero reports whether there is none.
func (m moment) Zero() bool { return m.t.IsZero() }

// ISO is for programs.
func (m moment) ISO() string { return m.t.UTC().Format(time.RFC3339) }

// Text is for people.
func (m moment) Text() string { return m.t.UTC().Format("2006-01-02 15:04") + " UTC" }

// Ago says how far away it is.
func (m moment) Ago() string {
	d := m.now.Sub(m.t)
	if d < 0 {
		return "in " + span(-d)
	}
	if d < time.Minute {
		return "just now"
	}
	return span(d) + " ago"
}

func span(d time.Duration) string {
	for _, u := range []struct {
		of   time.Duration
		name string
	}{{365 * 24 * time.Hour, "year"}, {24 * time.Hour, "day"}, {time.Hour, "hour"}} {
		if n := int(d / u.of); n > 0 {
			return count(n, u.name)
		}
	}
	return count(max(1, int(d/time.Minute)), "minute")
}

// count is a number with its noun.
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return thousands(int64(n)) + " " + noun + "s"
}

// every is a duration as people say it: 24h, not 24h0m0s.
func every(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// thousands groups the digits of a number.
func thousands(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// worstFirst is the order in which machines need somebody.
var worstFirst = []fleet.State{fleet.Fail, fleet.Error, fleet.Stale, fleet.Inconclusive, fleet.Review, fleet.Enrolled, fleet.Pass, fleet.Retired}

// marks are told apart without colours.
var marks = map[fleet.State]string{fleet.Fail: "\u2715", fleet.Error: "!", fleet.Stale: "\u2026", fleet.Inconclusive: "?", fleet.Review: "\u2022", fleet.Enrolled: "\u25cb", fleet.Pass: "\u2713", fleet.Retired: "\u2013"}

// means says in a few words what a state means.
var means = map[fleet.State]string{
	fleet.Fail: "not what its manifest says", fleet.Error: "the server could not judge it", fleet.Stale: "no evidence in time", fleet.Inconclusive: "not enough was proved",
	fleet.Review: "a person has to look", fleet.Enrolled: "known, not judged yet", fleet.Pass: "the last evidence passed, in time", fleet.Retired: "taken out",
}

// class is under what the style sheet knows a state. What it does not know has no
// colour, and never that of a pass.
func class(s fleet.State) string {
	if slices.Contains(worstFirst, s) {
		return "s-" + string(s)
	}
	return "s-unknown"
}

// rank of a state: the lower, the worse. What is not known is the worst.
func rank(s fleet.State) int { return slices.Index(worstFirst, s) }

func (p *pages) functions() template.FuncMap {
	return template.FuncMap{
		"asset":     p.assetPath,
		"version":   func() string { return p.version },
		"mark":      func(s fleet.State) string { return marks[s] },
		"means":     func(s fleet.State) string { return means[s] },
		"class":     class,
		"known":     func(s string) fleet.State { return fleet.State(s) },
		"thousands": thousands,
		"count":     count,
		"int":       func(n int64) int { return int(n) },
		"short":     func(s string) string { return report.Plain(s[:min(len(s), 12)]) },
		"join":      func(s []string) string { return strings.Join(s, "; ") },
		"pair":      func(a, b any) [2]any { return [2]any{a, b} },
		"cutName":   func(s string) string { return shorten(s, 22) },
		"isHost":    func(s string) bool { return strings.HasPrefix(s, "h-") && !strings.ContainsFunc(s, notPlain) },
		"every":     every,
		"plotText":  func(f float64) string { return fmt.Sprintf("%.1f", f) },
	}
}

// shorten cuts a text to n characters.
func shorten(s string, n int) string {
	if r := []rune(report.Plain(s)); len(r) > n {
		return string(r[:n-1]) + "\u2026"
	}
	return s
}

func notPlain(r rune) bool {
	return r != '-' && (r < '0' || r > '9') && (r < 'a' || r > 'z')
}

// clean takes out of a finished page what no page has: characters that turn the
// direction of text, hide it, or move a cursor. Templates do so for each field;
// this is for the field that somebody forgets.
func clean(b []byte) []byte {
	if !bytes.ContainsFunc(b, hidden) && utf8.Valid(b) {
		return b
	}
	var out bytes.Buffer
	out.Grow(len(b))
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&out, `\x%02x`, b[0])
		case hidden(r):
			fmt.Fprintf(&out, `\u%04x`, r)
		default:
			out.Write(b[:n])
		}
		b = b[n:]
	}
	return out.Bytes()
}

func hidden(r rune) bool {
	if r == '\n' || r == '\t' {
		return false
	}
	return unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Co)
}
