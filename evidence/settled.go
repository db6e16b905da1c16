package evidence

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strconv"
)

// Settled returns a digest over everything that two scans of one boot have alike
// when nothing happened in between: who collected how, and every artefact but
// those that a scan makes anew (the quotes and the signed time) and those that
// count (the uptime, and what of the processors and the memory is in use). Whether
// an artefact was read counts for all of them. Bundles whose digests are equal
// give every parser the same, apart from these.
func (b *Bundle) Settled() [sha256.Size]byte { return b.settled }

func (b *Bundle) settle() [sha256.Size]byte {
	list := []byte{}
	if b.index != nil {
		// The index in its own order: the time of the scan and the nonce are left out.
		list, _ = json.Marshal([]any{b.index.Format, b.index.Collector, b.index.Machine, b.index.Mode})
	}
	for i := range b.artifacts {
		a := &b.artifacts[i]
		list = a.line(list, b.settledSum(a))
		if a.Reason != "" { // quoted, so that no reason reads as another line
			list = append(strconv.AppendQuote(list, a.Reason), '\n')
		}
		if a.Status != Collected { // what the index says of bytes that are not there
			list = append(fmt.Appendf(list, "%q %d", a.SHA256, a.Size), '\n')
		}
	}
	return sha256.Sum256(list)
}

// settledSum is the digest of what stays of an artefact's bytes.
func (b *Bundle) settledSum(a *Artifact) string {
	switch {
	case a.Status != Collected || outsideSeal(a.Path):
		return ""
	case a.Path == "proc/uptime" || a.Path == "proc/modules": // modules are listed with how many use them
		return ""
	case a.Path == "proc/cpuinfo":
		return hashOf(lines(b.files[a.Path], func(l []byte) bool { return !bytes.HasPrefix(l, []byte("cpu MHz")) }))
	case a.Path == "proc/meminfo":
		return hashOf(lines(b.files[a.Path], func(l []byte) bool { return bytes.HasPrefix(l, []byte("MemTotal:")) }))
	}
	return a.SHA256
}

// MadeAnew reports whether an artefact is made by every scan: a quote, or the
// signed time. It lies outside of the seal.
func MadeAnew(path string) bool { return outsideSeal(path) }

// Counts reports whether an artefact changes while a machine runs, so that Settled
// leaves out some of it.
func Counts(path string) bool {
	switch path {
	case "proc/uptime", "proc/modules", "proc/cpuinfo", "proc/meminfo":
		return true
	}
	return false
}

// lines are those of a text that are kept.
func lines(text []byte, keep func([]byte) bool) []byte {
	out := make([]byte, 0, len(text))
	for l := range bytes.Lines(text) {
		if keep(l) {
			out = append(out, l...)
		}
	}
	return out
}
