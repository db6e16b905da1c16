package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/assay-hw/assay/efficacy"
	"github.com/assay-hw/assay/finding"
)

// page is what docs/efficacy.md tells.
type page struct {
	catalogue []efficacy.Scenario
	matrix    *efficacy.Matrix
	others    map[string][]bool // alarms of the simpler ways, by file
}

// letters stand for the classes in the tables.
var letters = map[efficacy.Class]string{
	efficacy.Detected: "D", efficacy.Otherwise: "d", efficacy.Inconclusive: "i", efficacy.Blind: "b", efficacy.Missed: "**MISS**",
	efficacy.Silent: "s", efficacy.Change: "c", efficacy.Review: "r", efficacy.FalseAlarm: "**ALARM**", efficacy.Skipped: "-",
}

const intro = `# What a verdict detects

This page is written by ` + "`make matrix`" + `, from the files in ` + "`testdata/vectors`" + `. A test fails when it is not what the command writes.

**What is counted.** Each vector is one thing that somebody does to a machine, or that happens to it. It is done to the recorded evidence of a real or
virtual machine; the evidence is then sealed and quoted again by a TPM in memory whose certificate the verifier trusts, so that what is tested is the
attack and not a broken seal, unless the seal is what is attacked. Package ` + "`assay`" + ` judges the result at every level of evidence with the same manifest.

**What it does not prove.** The authors of the rules wrote the vectors, on few machines, most of them virtual. A count of no miss says that the rules do
what they are meant to on these cases. It is no rate of detection in the field: the cases are not a sample of what attackers do, they depend on each
other, and nobody who had not seen the rules made any of them. The bounds below are of the arithmetic alone: they hold for cases like these, drawn
independently, and cases of one scenario on one machine are not independent, which is why the second line counts scenario and machine once.

`

func (p *page) text() string {
	var b strings.Builder
	b.WriteString(intro)
	b.WriteString(p.totals())
	p.first(&b)
	p.simpler(&b)
	p.attacks(&b)
	p.benign(&b)
	p.rest(&b)
	p.codes(&b)
	return b.String()
}

// totals counts the classes at each level, and what the counts bound.
func (p *page) totals() string {
	var b strings.Builder
	attacks, benign := p.split()
	ids := func(vs []*efficacy.Vector) int {
		set := map[string]bool{}
		for _, v := range vs {
			set[v.ID] = true
		}
		return len(set)
	}
	fmt.Fprintf(&b, "## Totals\n\n%d vectors: %d on %d of the catalogue's 165 attacks, %d on %d of its 49 harmless changes.\n\n",
		len(attacks)+len(benign), len(attacks), ids(attacks), len(benign), ids(benign))
	b.WriteString("Attacks. *In scope* are those that the level should detect; an attack of a higher level that passes without a word is a miss all the same.\n\n")
	b.WriteString("| level | attacks | detected | under another code | inconclusive | declared blind | missed | in scope | missed in scope | 95 % bound of the miss rate | by scenario and machine |\n|---|---|---|---|---|---|---|---|---|---|---|\n")
	for _, l := range efficacy.Levels() {
		c := p.count(attacks, l)
		in := slices.DeleteFunc(slices.Clone(attacks), func(v *efficacy.Vector) bool { return v.Level > l })
		n, missed := len(in), p.count(in, l)[efficacy.Missed]
		_, high := efficacy.Bounds(missed, n, 0.95)
		cn, cm := p.clusters(in, l, efficacy.Missed)
		_, chigh := efficacy.Bounds(cm, cn, 0.95)
		fmt.Fprintf(&b, "| %s | %d | %d | %d | %d | %d | %d | %d | %d | %s | %d of %d, %s |\n", l, total(c), c[efficacy.Detected], c[efficacy.Otherwise], c[efficacy.Inconclusive],
			c[efficacy.Blind], c[efficacy.Missed], n, missed, bound(n, high), cm, cn, bound(cn, chigh))
	}
	b.WriteString("\nHarmless changes, at every level whose evidence shows them. *Silent* is that nothing is told which was not told before, also where the policy asks for evidence that the level does not have and the verdict was inconclusive and stays so; *review* that what the change is meant to be asked about is asked; a *false alarm* is any other finding above low, whatever the verdict.\n\n")
	b.WriteString("| level | changes | silent | expected change | review | inconclusive | false alarm | 95 % bound of the rate of false alarms | by scenario and machine |\n|---|---|---|---|---|---|---|---|---|\n")
	for _, l := range efficacy.Levels() {
		at := slices.DeleteFunc(slices.Clone(benign), func(v *efficacy.Vector) bool { return !p.shown(v, l) })
		c := p.count(at, l)
		n := total(c)
		_, high := efficacy.Bounds(c[efficacy.FalseAlarm], n, 0.95)
		cn, cm := p.clusters(at, l, efficacy.FalseAlarm)
		_, chigh := efficacy.Bounds(cm, cn, 0.95)
		fmt.Fprintf(&b, "| %s | %d | %d | %d | %d | %d | %d | %s | %d of %d, %s |\n", l, n, c[efficacy.Silent], c[efficacy.Change], c[efficacy.Review], c[efficacy.Inconclusive],
			c[efficacy.FalseAlarm], bound(n, high), cm, cn, bound(cn, chigh))
	}
	b.WriteString("\nThe bounds are exact (Clopper and Pearson), two-sided. ")
	b.WriteString("Vectors on public captures that are not part of the project are listed below and not counted.\n\n")
	return b.String()
}

func bound(n int, high float64) string {
	if n == 0 {
		return "none"
	}
	return fmt.Sprintf("at most %.1f %%", 100*high)
}

func total(c map[efficacy.Class]int) int {
	n := 0
	for class, k := range c {
		if class != efficacy.Skipped {
			n += k
		}
	}
	return n
}

func (p *page) split() (attacks, benign []*efficacy.Vector) {
	for _, v := range p.matrix.Vectors {
		switch {
		case public(v):
		case v.Benign():
			benign = append(benign, v)
		default:
			attacks = append(attacks, v)
		}
	}
	order := func(a, b *efficacy.Vector) int { return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.File, b.File)) }
	slices.SortFunc(attacks, order)
	slices.SortFunc(benign, order)
	return attacks, benign
}

// public reports whether a vector needs files that a checkout may lack: the page
// must be the same everywhere, so that only the tests run it.
func public(v *efficacy.Vector) bool {
	return strings.HasPrefix(v.Machine, "corpus:") || v.Corpus != ""
}

func (p *page) outcome(v *efficacy.Vector, l efficacy.Level) efficacy.Outcome {
	return p.matrix.Outcomes[v.File][l]
}

func (p *page) count(vs []*efficacy.Vector, l efficacy.Level) map[efficacy.Class]int {
	out := map[efficacy.Class]int{}
	for _, v := range vs {
		out[p.outcome(v, l).Class]++
	}
	return out
}

// shown reports whether a harmless change can be told at a level at all.
func (p *page) shown(v *efficacy.Vector, l efficacy.Level) bool {
	o := p.outcome(v, l)
	return o.Shown || o.Class == efficacy.FalseAlarm
}

// clusters counts a scenario on a machine once; one bad case makes it bad.
func (p *page) clusters(vs []*efficacy.Vector, l efficacy.Level, bad efficacy.Class) (n, hit int) {
	set := map[string]bool{}
	for _, v := range vs {
		k := v.ID + " " + v.Machine
		set[k] = set[k] || p.outcome(v, l).Class == bad
	}
	for _, b := range set {
		if b {
			hit++
		}
	}
	return len(set), hit
}

// firstCases are attacks that a verifier of this kind is accepted by: each gets past
// at least one of the simpler ways.
var firstCases = []string{"A03", "B02", "B08", "D03", "D09", "E06", "E03", "F15", "F16", "F10", "G02"}

// first counts them at the level that each vector declares.
func (p *page) first(b *strings.Builder) {
	b.WriteString("## The cases to begin with\n\n")
	b.WriteString("Attacks that a verifier of this kind is accepted by, counted at the level that each vector declares. Inconclusive are vectors that take away what would show the attack. At the right are the simpler ways (next section) that raise no alarm at one vector at least; attacks on the manifest have no counterpart there.\n\n")
	b.WriteString("| id | attack | vectors | detected | inconclusive | gets past |\n|---|---|---|---|---|---|\n")
	attacks, _ := p.split()
	for _, id := range firstCases {
		n, found, open, past := 0, 0, 0, map[string]bool{}
		for _, v := range attacks {
			if v.ID != id {
				continue
			}
			n++
			switch p.outcome(v, v.Level).Class {
			case efficacy.Detected, efficacy.Otherwise:
				found++
			case efficacy.Inconclusive:
				open++
			}
			for i, o := range others() {
				if a := p.others[v.File]; v.ID[0] != 'F' && len(a) > i && !a[i] {
					past[o.name] = true
				}
			}
		}
		i := slices.IndexFunc(p.catalogue, func(s efficacy.Scenario) bool { return s.ID == id })
		fmt.Fprintf(b, "| %s | %s | %d | %d | %d | %s |\n", id, cell(p.catalogue[i].Name), n, found, open, strings.Join(slices.Sorted(maps.Keys(past)), ", "))
	}
	b.WriteString("\n")
}

// simpler compares with what others do on the same evidence.
func (p *page) simpler(b *strings.Builder) {
	b.WriteString("## The same evidence, compared in simpler ways\n\n")
	b.WriteString("Each way gets all evidence of the machine before and after, without this project's seal, and counts as detecting when it sees anything wrong at all. Attacks on the manifest are left out, since none of the other ways has a signed one, and so are those on the machine's records of inspections and whatever a management controller alone tells, which none of them reads.\n\n")
	attacks, benign := p.split()
	byController := func(v *efficacy.Vector) bool { return strings.HasPrefix(v.Machine, "tree:") }
	attacks = slices.DeleteFunc(attacks, func(v *efficacy.Vector) bool { return v.ID[0] == 'F' || v.Level == efficacy.L6 || byController(v) })
	benign = slices.DeleteFunc(benign, byController)
	b.WriteString("| way | attacks seen | harmless changes that raise an alarm |\n|---|---|---|\n")
	seen := func(vs []*efficacy.Vector, of func(v *efficacy.Vector) bool) string {
		n := 0
		for _, v := range vs {
			if of(v) {
				n++
			}
		}
		return fmt.Sprintf("%d of %d", n, len(vs))
	}
	for i, o := range others() {
		at := func(v *efficacy.Vector) bool { return len(p.others[v.File]) > i && p.others[v.File][i] }
		fmt.Fprintf(b, "| %s | %s | %s |\n", o.name, seen(attacks, at), seen(benign, at))
	}
	alarms := func(v *efficacy.Vector) bool {
		c := p.outcome(v, efficacy.L6).Class
		return c == efficacy.Detected || c == efficacy.Otherwise || c == efficacy.FalseAlarm
	}
	fmt.Fprintf(b, "| assay, at L6 | %s | %s |\n\n", seen(attacks, alarms), seen(benign, alarms))
	for _, o := range others() {
		fmt.Fprintf(b, "- *%s*: %s.\n", o.name, o.what)
	}
	b.WriteString("\n")
}

func (p *page) attacks(b *strings.Builder) {
	attacks, _ := p.split()
	b.WriteString("## Attacks by level\n\nD detected, d under another code, i inconclusive and names what is missing, b declared blind. The level at which an attack must be detected is in bold.\n\n")
	b.WriteString("| id | what | machine | L0 | L1 | L2 | L3 | L4 | L5 | L6 | found |")
	for _, o := range others() {
		fmt.Fprintf(b, " %s |", o.name)
	}
	b.WriteString("\n|" + strings.Repeat("---|", 11+len(others())) + "\n")
	for _, v := range attacks {
		fmt.Fprintf(b, "| %s | %s | %s |", v.ID, cell(v.Name), v.Machine)
		for _, l := range efficacy.Levels() {
			letter := letters[p.outcome(v, l).Class]
			if l == v.Level && len(letter) == 1 {
				letter = "**" + letter + "**"
			}
			fmt.Fprintf(b, " %s |", letter)
		}
		fmt.Fprintf(b, " %s |", codesOf(v))
		p.alarms(b, v)
		b.WriteString("\n")
	}
	for _, v := range attacks {
		if v.Gap != "" {
			fmt.Fprintf(b, "\nKnown gap: %s (%s): %s\n", v.ID, v.File, v.Gap)
		}
	}
	b.WriteString("\n")
}

func (p *page) alarms(b *strings.Builder, v *efficacy.Vector) {
	for i := range others() {
		mark := ""
		if len(p.others[v.File]) > i && p.others[v.File][i] {
			mark = "x"
		}
		fmt.Fprintf(b, " %s |", mark)
	}
}

func cell(s string) string { return strings.ReplaceAll(s, "|", "\\|") }

func codesOf(v *efficacy.Vector) string {
	var out []string
	for _, f := range v.Findings {
		if !slices.Contains(out, string(f.Code)) {
			out = append(out, string(f.Code))
		}
	}
	for _, i := range v.Incidents {
		out = append(out, string(i))
	}
	return strings.Join(slices.Compact(out), " ")
}

func (p *page) benign(b *strings.Builder) {
	_, benign := p.split()
	b.WriteString("## Harmless changes by machine\n\ns silent, c told as an expected change, r for review, i inconclusive; nothing where the level's evidence does not show it. The level that it is written for is in bold.\n\n| id | what | machine | L0 | L1 | L2 | L3 | L4 | L5 | L6 | told |")
	for _, o := range others() {
		fmt.Fprintf(b, " %s |", o.name)
	}
	b.WriteString("\n|" + strings.Repeat("---|", 11+len(others())) + "\n")
	for _, v := range benign {
		fmt.Fprintf(b, "| %s | %s | %s |", v.ID, cell(v.Name), v.Machine)
		for _, l := range efficacy.Levels() {
			letter := ""
			if p.shown(v, l) {
				letter = letters[p.outcome(v, l).Class]
			}
			if l == v.Level {
				letter = "**" + strings.Trim(letter, "*") + "**"
			}
			fmt.Fprintf(b, " %s |", letter)
		}
		fmt.Fprintf(b, " %s |", codesOf(v))
		p.alarms(b, v)
		b.WriteString("\n")
	}
	b.WriteString("\n")
}

// rest names what no vector expresses.
func (p *page) rest(b *strings.Builder) {
	have := map[string]bool{}
	for _, v := range p.matrix.Vectors {
		have[v.ID] = true
	}
	b.WriteString("## Scenarios without a vector\n\n| id | what | tested by | why no vector |\n|---|---|---|---|\n")
	for _, s := range p.catalogue {
		if !have[s.ID] || s.Test != "" {
			fmt.Fprintf(b, "| %s | %s | %s | %s |\n", s.ID, cell(s.Name), cmp.Or(s.Test, "nothing"), cmp.Or(s.Why, "not written yet"))
		}
	}
	b.WriteString("\n## Vectors on public captures\n\nThe captures are not part of the project, so that only `go test ./efficacy` runs these, where it finds the files.\n\n| id | what | machine | level | expected |\n|---|---|---|---|---|\n")
	for _, v := range p.matrix.Vectors {
		if public(v) {
			fmt.Fprintf(b, "| %s | %s | %s | %s | %s %s |\n", v.ID, cell(v.Name), strings.TrimPrefix(v.Machine, "corpus:"), v.Level, v.Expect, codesOf(v))
		}
	}
	b.WriteString("\n")
}

// codes lists, for each code of the catalogue, how many vectors raise it.
func (p *page) codes(b *strings.Builder) {
	raised, near := map[finding.Code]int{}, map[finding.Code]int{}
	for _, v := range p.matrix.Vectors {
		seen := map[finding.Code]bool{}
		for _, f := range v.Findings {
			seen[f.Code] = true
		}
		for _, i := range v.Incidents {
			seen[i] = true
		}
		for c := range seen {
			raised[c]++
		}
		for _, c := range v.Near {
			near[c]++
		}
	}
	b.WriteString("## Codes\n\nHow many vectors raise a code, and how many are a near miss that must not.\n\n| code | raised by | near misses |\n|---|---|---|\n")
	for _, c := range slices.Sorted(maps.Keys(raised)) {
		fmt.Fprintf(b, "| %s | %d | %d |\n", c, raised[c], near[c])
	}
}
