package manifest

import (
	"slices"
	"sync"
	"time"

	"github.com/assay-hw/assay/finding"
)

// Decoded is a manifest taken apart, for whoever holds many machines against few
// manifests: what is the same each time is done once. It proves nothing. Open
// checks signatures, signers and times anew each time, as the function of that name
// does, and it may be called at the same time from several places.
type Decoded struct {
	raw       []byte
	sum       string
	envelope  func() unwrapped
	statement func() (*statement, error)
	untrusted func() (Environment, error)
}

// unwrapped is an envelope and the payload in it.
type unwrapped struct {
	env     *envelope
	payload []byte
	err     error
}

// Decode takes a manifest apart when somebody asks for it. The bytes must not
// change afterwards.
func Decode(raw []byte) *Decoded {
	d := &Decoded{raw: raw, sum: hexSum(raw)}
	d.envelope = sync.OnceValue(func() (o unwrapped) {
		o.env, o.payload, o.err = decodeEnvelope(raw)
		return o
	})
	d.statement = sync.OnceValues(func() (*statement, error) { return decodeStatement(d.envelope().payload) })
	d.untrusted = sync.OnceValues(func() (e Environment, err error) {
		m, err := ReadUntrusted(raw)
		if err == nil {
			e = m.Environment
		}
		return e, err
	})
	return d
}

// Environment is what the manifest says it is about, whoever signed it.
func (d *Decoded) Environment() (Environment, error) { return d.untrusted() }

// Open is the function Open for this manifest.
func (d *Decoded) Open(trust *Trust, now time.Time) (*Trusted, Report) {
	if trust == nil {
		trust = &Trust{}
	}
	o := &opener{trust: trust, now: now, payloadType: payloadType, subject: "manifest", report: Report{SHA256: d.sum, Status: StatusUntrusted}}
	t := o.open(d)
	o.tellNotes()
	if o.fatal {
		t = nil
	}
	if t != nil {
		o.report.Status, o.report.Signers = StatusTrusted, t.Signers()
		o.report.Findings = append(o.report.Findings, Lint(t.manifest)...)
	}
	o.report.Findings = finding.Sort(slices.Clip(o.report.Findings))
	return t, o.report
}
