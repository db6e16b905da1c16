package auditlog

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
)

// Verdict is one line of a log of verdicts: what was judged, by what, and how.
// Digests are SHA-256 in hexadecimal.
type Verdict struct {
	Seq       int64     `json:"seq"`
	At        time.Time `json:"at"`       // the clock when it was written
	JudgedAt  time.Time `json:"judgedAt"` // the time that the verdict is for
	Command   string    `json:"command"`
	Platform  Platform  `json:"platform"`
	Verdict   string    `json:"verdict"`
	Exit      int       `json:"exit"`
	Evidence  string    `json:"evidence"`
	Result    string    `json:"result"` // of the result as JSON
	Policy    Judge     `json:"policy"`
	Manifests []Judge   `json:"manifests"`
	Prev      string    `json:"prev"`
	Hash      string    `json:"hash"`
}

// Platform names the machine as its evidence does.
type Platform struct {
	Manufacturer string `json:"manufacturer"`
	Model        string `json:"model"`
	Serial       string `json:"serial"`
}

// Judge is a policy or manifest that a verdict rests on.
type Judge struct {
	ID      string `json:"id"`
	Version int64  `json:"version,omitempty"`
	SHA256  string `json:"sha256"`
	Status  string `json:"status,omitempty"`
}

// Sum is the hash of a line: SHA-256 over its JSON form without the hash.
func (v Verdict) Sum() string {
	v.Hash = ""
	b, err := json.Marshal(v)
	if err != nil {
		return "" // a line is texts, numbers and times
	}
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

// Head is how far a log has come: the number of its last line, and that line's
// hash. Whoever keeps one elsewhere sees whether a log still goes through it.
type Head struct {
	Seq  int64
	Hash string // "" of an empty log
}

// String gives SEQ:HASH, which ParseHead reads.
func (h Head) String() string { return strconv.FormatInt(h.Seq, 10) + ":" + h.Hash }

// ParseHead reads SEQ:HASH.
func ParseHead(s string) (Head, error) {
	seq, hash, ok := strings.Cut(s, ":")
	n, err := strconv.ParseInt(seq, 10, 64)
	raw, bad := hex.DecodeString(hash)
	if !ok || err != nil || n < 1 || bad != nil || len(raw) != sha256.Size || hash != strings.ToLower(hash) {
		return Head{}, fmt.Errorf("head %.100q: want NUMBER:HASH, as log verify prints it", s)
	}
	return Head{n, hash}, nil
}

// maxLine bounds a line: what the evidence says of itself is in it.
const maxLine = 1 << 20

// parseVerdict reads one line without its end. Only the bytes that are written for
// what they say are accepted: other spellings would hide a change.
func parseVerdict(line []byte) (Verdict, error) {
	var v Verdict
	if err := json.Unmarshal(line, &v); err != nil {
		return v, fmt.Errorf("%w: %w", ErrBroken, err)
	}
	again, err := json.Marshal(v)
	if err != nil || !bytes.Equal(again, line) || v.Hash != v.Sum() {
		return v, fmt.Errorf("%w: the line is not what was written", ErrBroken)
	}
	return v, nil
}

// follow checks that a line comes after a head.
func (h Head) follow(v Verdict) error {
	switch {
	case v.Seq != h.Seq+1:
		return fmt.Errorf("%w: number %d where %d is due", ErrBroken, v.Seq, h.Seq+1)
	case v.Prev != h.Hash:
		return fmt.Errorf("%w: it does not follow the line before", ErrBroken)
	}
	return nil
}

// Follow checks a log of verdicts from its beginning, a line at a time, and shows
// each line to see. An error wraps ErrBroken and names the first line that does
// not hold. It cannot know of lines that were cut off at the end: compare the
// head with one that was kept elsewhere.
func Follow(r io.Reader, see func(Verdict)) (Head, error) {
	var h Head
	in := bufio.NewReaderSize(r, maxLine+1)
	for n := int64(1); ; n++ {
		line, err := in.ReadSlice('\n')
		switch {
		case err == io.EOF && len(line) == 0:
			return h, nil
		case err == io.EOF:
			return h, fmt.Errorf("line %d: %w: it has no end", n, ErrBroken)
		case errors.Is(err, bufio.ErrBufferFull):
			return h, fmt.Errorf("line %d: %w: it has more than %d bytes", n, ErrBroken, maxLine)
		case err != nil:
			return h, err
		}
		v, err := parseVerdict(line[:len(line)-1])
		if err == nil {
			err = h.follow(v)
		}
		if err != nil {
			return h, fmt.Errorf("line %d: %w", n, err)
		}
		h = Head{v.Seq, v.Hash}
		see(v)
	}
}

// Append adds a line to a log of verdicts, which is made where it is not there,
// and gives the new head. Number, hashes and the place in the chain are filled in.
// An error wraps ErrBroken when the log's last line does not hold; nothing is
// written then. Processes that append at the same time wait for each other.
func Append(path string, v Verdict) (h Head, err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return h, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	unlock, err := lock(f)
	if err != nil {
		return h, fmt.Errorf("lock %s: %w", path, err)
	}
	defer func() { err = errors.Join(err, unlock()) }()
	info, err := f.Stat()
	if err != nil {
		return h, err
	}
	if !info.Mode().IsRegular() {
		return h, fmt.Errorf("%s: is not a file", path)
	}
	if h, err = last(f, info.Size()); err != nil {
		return h, fmt.Errorf("%s: %w", path, err)
	}
	v.Seq, v.Prev = h.Seq+1, h.Hash
	v.Hash = v.Sum()
	line, err := json.Marshal(v)
	if err != nil {
		return h, err
	}
	if len(line) >= maxLine {
		return h, fmt.Errorf("%s: a line of %d bytes, the limit is %d", path, len(line), maxLine)
	}
	if _, err := f.Write(append(line, '\n')); err != nil {
		return h, errors.Join(err, f.Truncate(info.Size())) // no half of a line
	}
	return Head{v.Seq, v.Hash}, f.Sync()
}

// last reads the last line of a log of some size.
func last(f io.ReaderAt, size int64) (Head, error) {
	if size == 0 {
		return Head{}, nil
	}
	tail := make([]byte, min(size, maxLine+1))
	if _, err := f.ReadAt(tail, size-int64(len(tail))); err != nil {
		return Head{}, err
	}
	body, whole := bytes.CutSuffix(tail, []byte("\n"))
	at := bytes.LastIndexByte(body, '\n')
	if !whole || at < 0 && size > int64(len(tail)) {
		return Head{}, fmt.Errorf("last line: %w: it has no end, or is too long", ErrBroken)
	}
	v, err := parseVerdict(body[at+1:])
	if err == nil && at < 0 {
		err = Head{}.follow(v)
	}
	if err != nil {
		return Head{}, fmt.Errorf("last line: %w", err)
	}
	return Head{v.Seq, v.Hash}, nil
}
