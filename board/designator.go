package board

import (
	"cmp"
	"regexp"
	"strconv"
	"strings"
)

var (
	oneDesignator = regexp.MustCompile(`^([A-Z][A-Z_]{0,9})(\d{1,5})([A-Z]?)$`)
	rangeOf       = regexp.MustCompile(`^([A-Z]{1,6})(\d{1,5})-([A-Z]{0,6})(\d{1,5})$`)
	numbers       = regexp.MustCompile(`^(\d{1,5})(?:-(\d{1,5}))?$`)
)

const maxInRange = 2000

// designators expands a list as people write it: "C3, C4", "R10-R16",
// "C[5-8,1,13]", with a board's name in front. damaged says what does not hold;
// what can be read is returned all the same.
func designators(s string) (out []string, damaged string) {
	s = strings.ToUpper(s)
	if strings.Count(s, "[") != strings.Count(s, "]") {
		damaged = "has brackets that do not match"
	}
	prefix := ""
	for _, f := range strings.FieldsFunc(s, func(r rune) bool { return strings.ContainsRune(",; \t\n", r) }) {
		if i := strings.LastIndexByte(f, '['); i >= 0 {
			head := f[:i]
			if j := strings.LastIndexAny(head, "-/:"); j >= 0 {
				head = head[j+1:]
			}
			prefix, f = head, f[i+1:]
		}
		closes := strings.HasSuffix(f, "]")
		f = strings.TrimSuffix(f, "]")
		switch {
		case oneDesignator.MatchString(f):
			out = append(out, f)
		case rangeOf.MatchString(f):
			m := rangeOf.FindStringSubmatch(f)
			if m[3] != "" && m[3] != m[1] {
				damaged = "has a range between two letters"
				continue
			}
			out = append(out, span(m[1], m[2], m[4], &damaged)...)
		case prefix != "" && numbers.MatchString(f):
			m := numbers.FindStringSubmatch(f)
			out = append(out, span(prefix, m[1], cmp.Or(m[2], m[1]), &damaged)...)
		case strings.ContainsAny(f, "0123456789") && f != "":
			damaged = "has " + strconv.Quote(f) + " in it, which is no designator"
		}
		if closes {
			prefix = ""
		}
	}
	return out, damaged
}

func span(letters, first, last string, damaged *string) []string {
	a, _ := strconv.Atoi(first)
	b, _ := strconv.Atoi(last)
	if b < a || b-a > maxInRange {
		*damaged = "has a range that runs backwards or is too long"
		return nil
	}
	var out []string
	for n := a; n <= b; n++ {
		out = append(out, letters+strconv.Itoa(n))
	}
	return out
}

// CompareDesignators orders C2 before C10.
func CompareDesignators(a, b string) int { return compareDesignators(a, b) }

func compareDesignators(a, b string) int {
	x, y := oneDesignator.FindStringSubmatch(a), oneDesignator.FindStringSubmatch(b)
	if x == nil || y == nil {
		return cmp.Compare(a, b)
	}
	m, _ := strconv.Atoi(x[2])
	n, _ := strconv.Atoi(y[2])
	return cmp.Or(cmp.Compare(x[1], y[1]), cmp.Compare(m, n), cmp.Compare(x[3], y[3]))
}
