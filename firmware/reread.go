package firmware

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/finding"
)

// checkRereads holds other reads of the same flash against the image: the second
// pass of a scan, and images whose side file says that they are of this one,
// from an external programmer or over the management controller. A part that
// answers differently to who asks shows here and nowhere else.
//
// A side file is nobody's proof: an image that calls itself a read of another
// one stays an image of its own too.
func (m *Image) checkRereads(b *evidence.Bundle, all []*Image) {
	second := evidence.SecondPass + m.Artifact
	if data, err := b.Read(second); err == nil && m.data != nil {
		m.hold(data, second, b.SHA256(second))
	}
	if m.readOf == "" {
		return
	}
	target := imageNamed(all, m.readOf)
	if target == m || target.data == nil || target.readOf != "" || m.data == nil {
		f := finding.New(finding.ParsersDisagree, "firmware:"+m.Name)
		f.Want, f.Got = "an image that was read, and is no second read itself", m.readOf
		f.Why = "the file beside the image says that it is another read of an image that is not there to be compared"
		f.Basis = []finding.Basis{{Artifact: strings.TrimSuffix(m.Artifact, ".rom") + ".json"}}
		m.Findings = append(m.Findings, f)
		m.readOf = ""
		return
	}
	target.hold(m.data, m.Artifact, m.SHA256)
}

// Reread compares another read of the same flash with the image, as one that was
// taken with a clip, and returns what differs and what could not be compared. The
// image stays as it is. Without any of both, the two reads are one.
func (m *Image) Reread(data []byte, artifact, sum string) ([]finding.Finding, []NotChecked) {
	if m.data == nil {
		return nil, []NotChecked{{What: "second read of firmware:" + m.Name, Reason: "the image itself was not read"}}
	}
	c := &Image{Name: m.Name, Artifact: m.Artifact, SHA256: m.SHA256, Leaves: m.Leaves, data: m.data}
	c.hold(data, artifact, sum)
	return c.Findings, c.unread
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
		case l.Kind != Padding && l.Kind != Free && allAre(first, 0xff) != allAre(other, 0xff):
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
