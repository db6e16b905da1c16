package auditlog

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func judged(n int) Verdict {
	return Verdict{
		At: time.Date(2026, 1, 1, 0, 0, n, 0, time.UTC), JudgedAt: time.Date(2026, 1, 1, 0, 0, n, 0, time.UTC), Command: "verify", Platform: Platform{Model: "M", Serial: fmt.Sprintf("S%d <&>\u2028", n)},
		Verdict: "pass", Evidence: "ab", Result: "cd", Policy: Judge{ID: "default", SHA256: "ef"}, Manifests: []Judge{{ID: "m", Version: 3, SHA256: "01", Status: "trusted"}},
	}
}

// logOf is a log of n lines, and its head.
func logOf(t testing.TB, n int) (path string, lines []string, h Head) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "verdicts.log")
	for i := range n {
		var err error
		h, err = Append(path, judged(i))
		require.NoError(t, err)
		require.EqualValues(t, i+1, h.Seq)
	}
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	return path, strings.SplitAfter(strings.TrimSuffix(string(raw), "\n"), "\n"), h
}

func followed(raw string) (Head, error) { return Follow(strings.NewReader(raw), func(Verdict) {}) }

// G16: a line of a log of verdicts that was changed, removed, moved, put in or
// spelt otherwise shows, and the first that does not hold is named.
func TestG16VerdictLog(t *testing.T) {
	path, lines, head := logOf(t, 5)
	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	h, err := followed(string(whole))
	require.NoError(t, err)
	require.Equal(t, head, h)
	lines[4] += "\n"
	for name, c := range map[string]struct {
		edit func(l []string) []string
		line int
	}{
		"changed": {func(l []string) []string { l[2] = strings.Replace(l[2], `"pass"`, `"fail"`, 1); return l }, 3},
		"changed, rehashed": {func(l []string) []string {
			v, err := parseVerdict([]byte(strings.TrimSuffix(l[2], "\n")))
			require.NoError(t, err)
			old := v.Hash
			v.Verdict = "fail"
			v.Hash = v.Sum()
			l[2] = strings.Replace(strings.Replace(l[2], `"pass"`, `"fail"`, 1), old, v.Hash, 1)
			return l
		}, 4},
		"removed":         {func(l []string) []string { return append(l[:1], l[2:]...) }, 2},
		"moved":           {func(l []string) []string { l[1], l[2] = l[2], l[1]; return l }, 2},
		"twice":           {func(l []string) []string { return append(l[:2], l[1:]...) }, 3},
		"first removed":   {func(l []string) []string { return l[1:] }, 1},
		"spelt otherwise": {func(l []string) []string { l[3] = strings.Replace(l[3], ":", ": ", 1); return l }, 4},
		"a field put in":  {func(l []string) []string { l[3] = strings.Replace(l[3], "{", `{"note":"x",`, 1); return l }, 4},
		"a key twice":     {func(l []string) []string { l[3] = strings.Replace(l[3], "{", `{"verdict":"pass",`, 1); return l }, 4},
		"no JSON":         {func(l []string) []string { l[0] = "verdicts:\n"; return l }, 1},
		"an empty line":   {func(l []string) []string { l[1] = "\n"; return l }, 2},
		"cut inside":      {func(l []string) []string { l[4] = l[4][:len(l[4])/2]; return l }, 5},
		"without its end": {func(l []string) []string { l[4] = strings.TrimSuffix(l[4], "\n"); return l }, 5},
		"a line too long": {func(l []string) []string { l[3] = strings.Repeat("x", maxLine+5) + "\n"; return l }, 4},
	} {
		raw := strings.Join(c.edit(append([]string{}, lines...)), "")
		h, err := followed(raw)
		require.ErrorIs(t, err, ErrBroken, name)
		require.ErrorContains(t, err, fmt.Sprintf("line %d: ", c.line), name)
		require.EqualValues(t, c.line-1, h.Seq, name)
	}
	for i := range whole { // no byte may be another one
		edited := bytes.Clone(whole)
		edited[i] ^= 1
		_, err := followed(string(edited))
		require.Error(t, err, "byte %d", i)
	}
}

// What a chain cannot show: a shorter log holds, and only its head tells.
func TestCutOffEnd(t *testing.T) {
	_, lines, head := logOf(t, 4)
	h, err := followed(strings.Join(lines[:3], ""))
	require.NoError(t, err)
	require.NotEqual(t, head, h)
	kept, err := ParseHead(head.String())
	require.NoError(t, err)
	require.Equal(t, head, kept)
	for _, bad := range []string{"", "4", "0:" + head.Hash, "x:" + head.Hash, "4:" + head.Hash[1:], "4:" + strings.ToUpper(head.Hash) + "A"} {
		_, err := ParseHead(bad)
		require.Error(t, err, bad)
	}
}

// Nothing is appended to a log whose end does not hold, and nothing is half
// written.
func TestAppendRefuses(t *testing.T) {
	for name, edit := range map[string]func(string) string{
		"half a line":  func(s string) string { return s[:len(s)-20] },
		"no end":       func(s string) string { return strings.TrimSuffix(s, "\n") },
		"edited":       func(s string) string { return strings.Replace(s, "\"S2 ", "\"S9 ", 1) },
		"another file": func(string) string { return "127.0.0.1 localhost\n" },
		"one long":     func(string) string { return strings.Repeat("x", maxLine+10) + "\n" },
	} {
		path, _, _ := logOf(t, 3)
		raw, err := os.ReadFile(path)
		require.NoError(t, err)
		bad := edit(string(raw))
		require.NoError(t, os.WriteFile(path, []byte(bad), 0o600))
		_, err = Append(path, judged(9))
		require.ErrorIs(t, err, ErrBroken, name)
		after, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, bad, string(after), name)
	}
	_, err := Append(filepath.Join(t.TempDir(), "none", "x.log"), judged(0))
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = Append(os.DevNull, judged(0))
	require.ErrorContains(t, err, "is not a file")
	long := judged(0)
	long.Platform.Serial = strings.Repeat("x", maxLine)
	path := filepath.Join(t.TempDir(), "x.log")
	_, err = Append(path, long)
	require.ErrorContains(t, err, "the limit is")
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Empty(t, raw)
}

func TestAppendAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "verdicts.log")
	var all sync.WaitGroup
	errs := make([]error, 40)
	for i := range errs {
		all.Go(func() { _, errs[i] = Append(path, judged(i)) })
	}
	all.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	h, err := followed(string(raw))
	require.NoError(t, err)
	require.EqualValues(t, len(errs), h.Seq)
}

// endless is a log that never ends, of which nothing is kept.
type endless struct {
	h    Head
	left int
	buf  bytes.Buffer
}

func (e *endless) Read(p []byte) (int, error) {
	if e.buf.Len() == 0 {
		if e.left == 0 {
			return 0, io.EOF
		}
		e.left--
		v := judged(e.left % 60)
		v.Seq, v.Prev = e.h.Seq+1, e.h.Hash
		v.Hash = v.Sum()
		e.h = Head{v.Seq, v.Hash}
		line, err := json.Marshal(v)
		if err != nil {
			return 0, err
		}
		e.buf.Write(append(line, '\n'))
	}
	return e.buf.Read(p)
}

// A large log takes no more memory than a small one.
func TestFollowKeepsNothing(t *testing.T) {
	var last Verdict
	n := 0
	h, err := Follow(&endless{left: 20_000}, func(v Verdict) { last = v; n++ })
	require.NoError(t, err)
	require.Equal(t, 20_000, n)
	require.Equal(t, Head{last.Seq, last.Hash}, h)
}

func FuzzFollow(f *testing.F) {
	_, lines, _ := logOf(f, 3)
	f.Add([]byte(strings.Join(lines, "") + "\n"))
	f.Add([]byte(lines[0]))
	f.Add([]byte("{}\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		n := int64(0)
		h, err := Follow(bytes.NewReader(b), func(Verdict) { n++ })
		require.Equal(t, n, h.Seq)
		if err == nil {
			require.EqualValues(t, bytes.Count(b, []byte("\n")), n)
		}
	})
}
