package firmware

import (
	"bytes"
	"fmt"

	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/finding"
)

// reread holds other reads of the same flash against the image: the second
// pass of a scan, and images whose side file says that they are of this one,
// from an external programmer or over the management controller. A part that
// answers differently to who asks shows here and nowhere else.
func (m *Image) reread(b *evidence.Bundle, all []*Image) {
	if m.readOf != "" && m.readOf != m.Name || m.data == nil {
		return
	}
	second := evidence.SecondPass + m.Artifact
	if data, err := b.Read(second); err == nil {
		m.hold(data, second, b.SHA256(second))
	}
	for _, o := range all {
		if o == m || o.readOf != m.Name {
			continue
		}
		if o.data == nil {
			m.unread = append(m.unread, NotChecked{What: "second read of firmware:" + m.Name, Reason: o.Artifact + ": " + o.Reason})
			continue
		}
		m.hold(o.data, o.Artifact, o.SHA256)
	}
}

// hold compares another read with the image, leaf by leaf. What is volatile may
// have changed in between. A shorter read is of the end of the flash, which is
// what chipsets map below 4 GiB.
func (m *Image) hold(data []byte, artifact, sum string) {
	shift := int64(len(m.data) - len(data))
	if shift < 0 {
		m.differs(Leaf{}, artifact, sum, fmt.Sprintf("%d bytes", len(m.data)), fmt.Sprintf("%d bytes", len(data)), "two reads of one flash part have different lengths")
		return
	}
	blank := int64(0)
	for _, l := range m.Leaves {
		from := max(l.Offset, shift)
		end := l.Offset + l.Length
		if l.Kind == Volatile || end <= from {
			continue
		}
		first, other := m.data[from:end], data[from-shift:end-shift]
		switch {
		case bytes.Equal(first, other):
		case allAre(first, 0xff) != allAre(other, 0xff):
			blank += end - from // a reader without the right to read a region gets ones
		default:
			at := from + int64(firstDifference(first, other))
			l.Offset, l.Length = at, end-at
			m.differs(l, artifact, sum, "sha256:"+digest(first), "sha256:"+digest(other),
				fmt.Sprintf("two reads of one flash part differ in %s, first at offset 0x%x", l.Path, at))
		}
	}
	if blank > 0 {
		m.unread = append(m.unread, NotChecked{What: "second read of firmware:" + m.Name, Reason: fmt.Sprintf("%d bytes are blank in one of the reads, %s and %s", blank, m.Artifact, artifact)})
	}
	if shift > 0 {
		m.unread = append(m.unread, NotChecked{What: "second read of firmware:" + m.Name, Reason: fmt.Sprintf("%s has only the last %d bytes", artifact, len(data))})
	}
}

func (m *Image) differs(l Leaf, artifact, sum, want, got, why string) {
	subject := "firmware:" + m.Name
	if l.Path != "" {
		subject += "/" + l.Path
	}
	f := finding.New(finding.ReadsDisagree, subject)
	f.Want, f.Got, f.Why, f.Confidence = want, got, why, finding.Proven
	f.Sources = []finding.Source{finding.PartMemory}
	f.Basis = []finding.Basis{{Artifact: m.Artifact, SHA256: m.SHA256, Offset: l.Offset, Length: l.Length}, {Artifact: artifact, SHA256: sum, Offset: l.Offset, Length: l.Length}}
	m.Findings = append(m.Findings, f)
}

func firstDifference(a, b []byte) int {
	for i := range a {
		if a[i] != b[i] {
			return i
		}
	}
	return len(a)
}
