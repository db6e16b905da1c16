package lines

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/report"
)

// Prometheus writes gauges in the text format of Prometheus (exposition format
// 0.0.4), for the textfile collector of node_exporter. Names and labels of metrics
// are part of the product; docs/guide-integration.md lists them.
func Prometheus(w io.Writer, r *assay.Result) error {
	p := r.Platform
	m := &metrics{machine: []string{"manufacturer", p.Manufacturer, "model", p.Model, "serial", p.Serial}}
	m.family("assay_verdict", "The verdict of the last appraisal: 1 for the one that holds, 0 for the others.")
	for _, v := range []assay.Verdict{assay.Pass, assay.Review, assay.Inconclusive, assay.Fail} {
		m.sample(truth(r.Verdict == v), "verdict", string(v))
	}
	m.family("assay_exit_code", "The exit code of the verdict: 0 pass, 1 fail, 2 review, 3 inconclusive.")
	m.sample(float64(r.Verdict.ExitCode()))
	m.family("assay_appraisal_timestamp_seconds", "When the evidence was appraised.")
	m.sample(float64(r.At.Unix()))
	if at, err := time.Parse(time.RFC3339, r.Evidence.CollectedAt); err == nil {
		m.family("assay_evidence_timestamp_seconds", "When the evidence was collected, as it says.")
		m.sample(float64(at.Unix()))
	}
	m.family("assay_findings", "Findings of the last appraisal, by severity.")
	for s := finding.Info; s <= finding.Critical; s++ {
		m.sample(float64(count(r, s)), "severity", s.String())
	}
	m.codes(r)
	m.family("assay_requirement_proved", "Whether what the policy requires was proved.")
	for _, q := range r.Required {
		m.sample(truth(q.Proved), "requirement", string(q.What))
	}
	m.family("assay_not_checked", "How many things could not be compared.")
	m.sample(float64(len(r.NotChecked)))
	m.assurance(r.Assurance)
	m.family("assay_parts", "Parts by class: declared, matched, unexpected, and declared ones that no evidence shows.")
	for _, c := range r.Coverage {
		for i, n := range []int{c.Declared, c.Matched, c.Unexpected, c.NotObservable} {
			m.sample(float64(n), "class", string(c.Class), "state", [...]string{"declared", "matched", "unexpected", "not_observable"}[i])
		}
	}
	m.family("assay_manifest_version", "Version of each manifest that was given.")
	for _, x := range r.Manifests {
		m.sample(float64(x.Version), "manifest", x.ID, "status", x.Status)
	}
	return write(w, m.b.Bytes())
}

// metrics writes families of gauges about one machine.
type metrics struct {
	b       bytes.Buffer
	machine []string // labels of every sample, name and value by turns

	name, help string
	seen       map[string]bool // label sets of the family: a second one would have a collector refuse the file
}

func (m *metrics) family(name, help string) {
	m.name, m.help, m.seen = name, help, map[string]bool{}
}

func (m *metrics) sample(value float64, labels ...string) {
	var set []string
	for _, l := range [][]string{m.machine, labels} {
		for i := 0; i < len(l); i += 2 {
			set = append(set, l[i]+`="`+labelValue.Replace(report.Plain(l[i+1]))+`"`)
		}
	}
	key := strings.Join(set, ",")
	if m.seen[key] {
		return
	}
	if len(m.seen) == 0 {
		fmt.Fprintf(&m.b, "# HELP %s %s\n# TYPE %s gauge\n", m.name, m.help, m.name)
	}
	m.seen[key] = true
	fmt.Fprintf(&m.b, "%s{%s} %s\n", m.name, key, strconv.FormatFloat(value, 'f', -1, 64))
}

// labelValue is what the format escapes in the value of a label.
var labelValue = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

// codes counts findings that are more than informational by their code.
func (m *metrics) codes(r *assay.Result) {
	m.family("assay_findings_by_code", "Findings of the last appraisal that are more than informational, by code.")
	n := map[string]int{}
	for _, f := range r.Findings {
		n[string(f.Code)+f.Severity.String()]++
	}
	for _, f := range r.Findings { // worst first
		if f.Severity > finding.Info {
			m.sample(float64(n[string(f.Code)+f.Severity.String()]), "code", string(f.Code), "name", f.Name, "severity", f.Severity.String())
		}
	}
	m.family("assay_incidents", "Incidents of the last appraisal, by code.")
	n = map[string]int{}
	for _, i := range r.Incidents {
		n[string(i.Code)]++
	}
	for _, i := range r.Incidents {
		m.sample(float64(n[string(i.Code)]), "code", string(i.Code))
	}
}

func (m *metrics) assurance(a assay.Assurance) {
	if n, err := strconv.Atoi(strings.TrimPrefix(a.Level, "L")); err == nil {
		m.family("assay_assurance_level", "How far the evidence can be believed, 0 to 6 (docs/trust.md).")
		m.sample(float64(n))
	}
	m.family("assay_assurance", "What is proved of the evidence itself.")
	m.sample(truth(a.Quoted), "property", "quoted")
	m.sample(truth(a.Sealed), "property", "sealed")
	m.sample(truth(a.KeyBound), "property", "key_bound")
	m.sample(truth(a.Collector == "attested"), "property", "collector_attested")
}

func count(r *assay.Result, s finding.Severity) (n int) {
	for _, f := range r.Findings {
		if f.Severity == s {
			n++
		}
	}
	return n
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
