// Package lines writes a Result in formats in which a line is a record: OCSF as
// JSON lines, CEF, the text format of Prometheus and the workflow commands of
// GitHub Actions. Evidence is written by whoever owns the machine, so the one thing
// that this package has to prove is that no text out of it begins a record, a field
// or a label of its own: every text goes through report.Plain, which leaves no
// control character, and then through the escapes of its format. It decides
// nothing; verdict and findings are those of the Result.
package lines

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/report"
)

// CEF writes one record for the verdict and one for each finding, in the Common
// Event Format (ArcSight, Implementing CEF, version 25: "CEF:0"), without a syslog
// header: whoever sends them puts his own before them. build is the version of the
// program.
func CEF(w io.Writer, r *assay.Result, build string) error {
	var b bytes.Buffer
	e := machineFields(r)
	e.add("outcome", 63, string(r.Verdict))
	e.add("reason", 1023, report.Sentence(r, nil))
	e.number("cn1", "exit code", int64(r.Verdict.ExitCode()))
	e.text("cs1", "assurance", r.Assurance.Level+": "+r.Assurance.Statement)
	record(&b, build, "verdict", "Verdict "+string(r.Verdict), verdictLevel(r.Verdict), e)
	for _, f := range r.Findings {
		e := machineFields(r)
		e.add("cat", 1023, string(f.Claim))
		e.add("externalId", 40, f.Fingerprint)
		e.add("msg", 1023, f.Why)
		e.add("outcome", 63, string(r.Verdict))
		e.text("cs1", "subject", f.Subject)
		e.text("cs2", "want", f.Want)
		e.text("cs3", "got", f.Got)
		e.text("cs4", "place", report.Place(f))
		e.text("cs5", "confidence", f.Confidence.String())
		e.text("flexString1", "covered by", f.CoveredBy)
		e.text("flexString2", "ATT&CK", strings.Join(f.Attack, " "))
		record(&b, build, string(f.Code), f.Title, cefLevel(f.Severity), e)
	}
	return write(w, b.Bytes())
}

func write(w io.Writer, b []byte) error {
	if _, err := w.Write(b); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}

// extension is the extension of a record: what Key-Value pairs follow its header.
type extension []string

func machineFields(r *assay.Result) extension {
	var e extension
	e.add("rt", 0, strconv.FormatInt(r.At.UnixMilli(), 10))
	e.add("deviceExternalId", 255, r.Platform.Serial)
	e.text("cs6", "machine", report.Machine(r))
	e.add("fileHash", 255, r.Evidence.SHA256)
	return e
}

// add appends a pair, cut at what the format allows a value to have (most 0: no
// limit). Pairs without a value are left out.
func (e *extension) add(key string, most int, value string) {
	if value = report.Plain(value); value == "" {
		return
	}
	if most > 0 && utf8.RuneCountInString(value) > most {
		value = string([]rune(value)[:most])
	}
	*e = append(*e, key+"="+cefValue.Replace(value))
}

// text appends a custom string with its label.
func (e *extension) text(key, label, value string) {
	if value != "" {
		e.add(key+"Label", 1023, label)
		e.add(key, 1023, value)
	}
}

func (e *extension) number(key, label string, value int64) {
	e.add(key+"Label", 1023, label)
	e.add(key, 0, strconv.FormatInt(value, 10))
}

// What the format escapes, in its header and in values of its extension ("Character
// Encoding"). Line breaks cannot be here any more; where they could, they stay out.
var (
	cefHeader = strings.NewReplacer(`\`, `\\`, "|", `\|`, "\r", " ", "\n", " ")
	cefValue  = strings.NewReplacer(`\`, `\\`, "=", `\=`, "\r", `\r`, "\n", `\n`)
)

func record(b *bytes.Buffer, build, id, name string, level int, e extension) {
	head := []string{"CEF:0", "Assay", "assay", cmp.Or(build, "unknown"), id, name, strconv.Itoa(level)}
	for i, s := range head {
		head[i] = cefHeader.Replace(report.Plain(s))
	}
	fmt.Fprintf(b, "%s|%s\n", strings.Join(head, "|"), strings.Join(e, " "))
}

// cefLevel is a severity from 0 to 10: 0 to 3 low, 4 to 6 medium, 7 and 8 high, 9
// and 10 very high.
func cefLevel(s finding.Severity) int {
	return [...]int{0, 3, 6, 8, 10}[min(s, finding.Critical)]
}

func verdictLevel(v assay.Verdict) int {
	switch v {
	case assay.Pass:
		return 0
	case assay.Review:
		return 5
	case assay.Inconclusive:
		return 6
	}
	return 9
}
