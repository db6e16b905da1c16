package web

import (
	"slices"
	"strconv"

	"github.com/assay-hw/assay/fleet"
	"github.com/assay-hw/assay/fleet/auditlog"
)

// logPage is a page of the audit log, the newest line first.
type logPage struct {
	Entries  []auditlog.Entry
	Head     int64
	HeadHash string
	Broken   string // what does not hold, "" when the chain of what is shown does
	Older    int64  // the line before which the next page ends, 0 for none
	Newer    bool
}

const logSize = 100

func (p *pages) log(q *request) error {
	b := logPage{}
	before, _ := strconv.ParseInt(q.r.URL.Query().Get("before"), 10, 64) // what is no number is the newest page
	err := p.view(q, func(r fleet.Reader) (err error) {
		if b.Head, b.HeadHash, err = r.AuditHead(); err != nil {
			return err
		}
		last := b.Head
		if before > 0 && before <= b.Head {
			last, b.Newer = before-1, true
		}
		return b.read(r, last)
	})
	if err != nil {
		return err
	}
	return p.show(q, "log", "log", "Audit log", b)
}

// read gets the lines up to one, and holds them against the line before them and
// against each other. The newest have to end where the log's head says, so that
// lines which were cut off show too.
func (b *logPage) read(r fleet.Reader, last int64) error {
	from := max(0, last-logSize)
	prev := ""
	if from > 0 {
		one, err := r.AuditLog(from-1, 1)
		if err != nil {
			return err
		}
		if len(one) == 1 && one[0].Seq == from {
			prev = one[0].Hash
		}
	}
	var err error
	if b.Entries, err = r.AuditLog(from, logSize); err != nil {
		return err
	}
	b.Entries = slices.DeleteFunc(b.Entries, func(e auditlog.Entry) bool { return e.Seq > last })
	switch err := auditlog.Check(from, prev, b.Entries); {
	case err != nil:
		b.Broken = err.Error()
	case len(b.Entries) != int(last-from):
		b.Broken = "lines are missing at the end"
	case last == b.Head && last > 0 && b.Entries[len(b.Entries)-1].Hash != b.HeadHash:
		b.Broken = "the last line is not the one that was written last"
	}
	if from > 0 {
		b.Older = from + 1
	}
	slices.Reverse(b.Entries)
	return nil
}
