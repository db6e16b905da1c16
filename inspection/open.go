package inspection

import (
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/manifest"
)

var document = manifest.Document{Type: payloadType, Right: "inspection", About: func(payload []byte) (string, string, error) {
	r, err := Decode(payload)
	if err != nil {
		return "", "", err
	}
	return r.Unit.Manufacturer, string(r.Technique), nil
}}

// Opened is a record as it was found. Only Open makes one that is trusted.
type Opened struct {
	record   *Record
	trusted  bool
	report   manifest.Report
	attached map[string]attached
}

// attached is what became of one attachment.
type attached struct {
	trouble string // why it is not what was signed; "" when it is
	data    []byte // of a clip dump
}

// Open reads a record and checks who signed it. There is always an answer: an
// untrusted record has its contents too, since what it holds against a unit is
// worth a look whoever says it; one that cannot be read has none.
func Open(raw []byte, trust *manifest.Trust, now time.Time) *Opened {
	o := &Opened{attached: map[string]attached{}}
	payload, rep := document.Open(raw, trust, now)
	for i := range rep.Findings {
		rep.Findings[i].Subject = "inspection:" + rep.SHA256[:12]
	}
	o.report, o.trusted = rep, payload != nil
	var err error
	if payload == nil {
		payload, err = document.Payload(raw)
	}
	if err == nil {
		o.record, err = Decode(payload)
	}
	if err != nil {
		o.trusted, o.report.Status = false, manifest.StatusUnreadable
		f := finding.New(finding.InputMalformed, "inspection:"+rep.SHA256[:12])
		f.Got, f.Why, f.Confidence = "sha256:"+rep.SHA256, err.Error(), finding.Proven
		o.report.Findings = []finding.Finding{f}
		return o
	}
	o.report.ID = o.record.ID
	return o
}

// Record is what the record says, nil when it cannot be read.
func (o *Opened) Record() *Record { return o.record }

// Trusted reports whether somebody signed it who may.
func (o *Opened) Trusted() bool { return o.trusted && o.record != nil }

// Report says who signed it, and what is wrong with it.
func (o *Opened) Report() manifest.Report { return o.report }

// maxDump bounds what is kept of one clip dump: no machine has a larger flash.
const maxDump = 256 << 20

// Attach looks for the attachments in a directory and holds each against the
// signed size and digest. What is not there or is something else is remembered
// for Attached; an error is about reading.
func (o *Opened) Attach(dir fs.FS) error {
	if o.record == nil {
		return nil
	}
	for _, a := range o.record.Attachments {
		got, err := attach(dir, a)
		if err != nil {
			return fmt.Errorf("attachment %s: %w", a.Name, err)
		}
		o.attached[a.Name] = got
	}
	return nil
}

func attach(dir fs.FS, a Attachment) (attached, error) {
	f, err := dir.Open(a.Name)
	if errors.Is(err, fs.ErrNotExist) {
		return attached{trouble: "it is not in the directory of attachments"}, nil
	}
	if err != nil {
		return attached{}, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return attached{trouble: "it is no regular file"}, err
	} else if info.Size() != a.Size {
		return attached{trouble: fmt.Sprintf("it has %d bytes, %d were signed", info.Size(), a.Size)}, nil
	}
	h := sha256.New()
	var out attached
	if a.Flash != "" && a.Size <= maxDump {
		if out.data, err = io.ReadAll(io.LimitReader(f, a.Size)); err == nil {
			h.Write(out.data)
		}
	} else {
		_, err = io.Copy(h, io.LimitReader(f, a.Size))
	}
	if err != nil {
		return attached{}, err
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != a.SHA256 {
		return attached{trouble: "its digest is " + got + ", another one was signed"}, nil
	}
	return out, nil
}

// Attached says of one attachment why it is not shown to be what was signed, ""
// when it is, and gives its bytes when it is a dump of a flash.
func (o *Opened) Attached(name string) (data []byte, trouble string) {
	a, ok := o.attached[name]
	if !ok {
		return nil, "no directory with attachments was given"
	}
	return a.data, a.trouble
}

// Sign signs a draft, or adds a signature to a signed record, whose bytes are kept.
// The chain is leaf first and its leaf must hold the key.
func Sign(raw []byte, key crypto.Signer, chain []*x509.Certificate) ([]byte, error) {
	payload, err := document.Payload(raw)
	if err != nil {
		return nil, fmt.Errorf("inspection: %w", err)
	}
	if _, err := Decode(payload); err != nil {
		return nil, err
	}
	return document.Sign(raw, key, chain)
}

// IsRecord reports whether a file is a record, signed or not.
func IsRecord(raw []byte) bool {
	payload, err := document.Payload(raw)
	if err != nil {
		return false
	}
	var s struct {
		PredicateType string `json:"predicateType"`
	}
	return json.Unmarshal(payload, &s) == nil && s.PredicateType == PredicateType
}
