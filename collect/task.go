package collect

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/assay-hw/assay/evidence"
)

// entry is one artefact before it is in the bundle.
type entry struct {
	path   string
	data   []byte
	status evidence.Status
	reason string
}

// task is one run of one source. What arrives after its time is over is not
// taken any more, so that a source that hangs cannot change a bundle that is
// already signed.
type task struct {
	ctx  context.Context
	host *Host
	opt  *Options

	mu      sync.Mutex
	closed  bool
	current string // what is being read
	bytes   int64
	entries map[string]entry
}

func newTask(ctx context.Context, h *Host, o *Options) *task {
	return &task{ctx: ctx, host: h, opt: o, entries: map[string]entry{}}
}

// The limits of one source, below those of a bundle.
const (
	maxSourceBytes   = 96 << 20
	maxSourceEntries = 20_000
	maxListing       = 8192
	maxReason        = 200
)

func (t *task) put(e entry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return
	}
	if len(t.entries) >= maxSourceEntries {
		e = entry{path: path.Dir(e.path), status: evidence.Failed, reason: fmt.Sprintf("more than %d artefacts from one source", maxSourceEntries)}
	}
	if t.bytes += int64(len(e.data)); t.bytes > maxSourceBytes {
		t.bytes -= int64(len(e.data))
		e = entry{path: e.path, status: evidence.Failed, reason: fmt.Sprintf("the source gave more than %d bytes", maxSourceBytes)}
	}
	if len(e.reason) > maxReason {
		e.reason = strings.ToValidUTF8(e.reason[:maxReason], "") + "..."
	}
	t.entries[e.path] = e
}

// add stores bytes.
func (t *task) add(name string, data []byte) {
	t.put(entry{path: name, data: data, status: evidence.Collected})
}

// note records why something was not read.
func (t *task) note(name string, s evidence.Status, reason string) {
	t.put(entry{path: name, status: s, reason: reason})
}

// fail records an error as the status that it means.
func (t *task) fail(name string, err error) {
	t.note(name, statusOf(err), reasonOf(err))
}

func statusOf(err error) evidence.Status {
	switch {
	case errors.Is(err, errTimeout), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled), errors.Is(err, os.ErrDeadlineExceeded):
		return evidence.TimedOut
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENODEV), errors.Is(err, syscall.ENXIO), errors.Is(err, syscall.ENODATA):
		return evidence.Absent
	case errors.Is(err, fs.ErrPermission):
		return evidence.Denied
	}
	return evidence.Failed
}

// reasonOf is an error without the path, which the artefact already has.
func reasonOf(err error) string {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return pe.Err.Error()
	}
	return err.Error()
}

// at notes what is being read, for the case that it never answers.
func (t *task) at(name string) {
	t.mu.Lock()
	t.current = name
	t.mu.Unlock()
}

// file describes how one file is read.
type file struct {
	limit    int64         // bytes; 0 means 64 KiB
	patience time.Duration // 0 means 2 s
	optional bool          // its absence is normal and not recorded
	full     int64         // a shorter read is collected with a reason
}

// read stores one file under its own path and reports whether it has bytes.
func (t *task) read(name string, f file) bool {
	if f.limit == 0 {
		f.limit = 64 << 10
	}
	if f.patience == 0 {
		f.patience = 2 * time.Second
	}
	t.at(name)
	data, err := t.host.read(t.ctx, name, f.limit, f.patience)
	switch {
	case f.optional && errors.Is(err, fs.ErrNotExist):
		return false
	case f.optional && (errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.EOPNOTSUPP)):
		// This is how a driver says that a device has no such value.
		t.note(name, evidence.Absent, reasonOf(err))
		return false
	case err != nil:
		t.fail(name, err)
		return false
	}
	e := entry{path: name, data: data, status: evidence.Collected}
	if f.full > 0 && int64(len(data)) < f.full {
		e.reason = fmt.Sprintf("%d bytes; all of it needs more rights", len(data))
	}
	t.put(e)
	return true
}

// attributes reads the files of one directory: those that must be there, then
// those that may be.
func (t *task) attributes(dir string, must, may []string) {
	for _, a := range must {
		t.read(dir+"/"+a, file{})
	}
	for _, a := range may {
		t.read(dir+"/"+a, file{optional: true})
	}
}

// resolved stores where a sysfs entry really is: the target of the entry's own
// link, or the file of that name in a captured tree.
func (t *task) resolved(dir string) {
	if target := t.host.link(dir); target != "" {
		t.add(dir+"/path", []byte(target+"\n"))
		return
	}
	t.read(dir+"/path", file{optional: true})
}

// base stores the last element of a link's target under the link's name.
func (t *task) base(dir, name, under string) {
	if target := t.host.link(dir + "/" + under); target != "" {
		t.add(dir+"/"+name, []byte(path.Base(target)+"\n"))
		return
	}
	if info, err := fs.Stat(t.host.files, dir+"/"+name); err == nil && info.Mode().IsRegular() {
		t.read(dir+"/"+name, file{optional: true})
	}
}

// over reports whether the source's time is over and notes then that a device
// was not looked at.
func (t *task) over(dir string) bool {
	if t.ctx.Err() == nil {
		return false
	}
	t.note(dir, evidence.TimedOut, "not read: the source's time was over")
	return true
}

// list names the entries of a directory, sorted. A directory that cannot be
// listed, or that is empty, is recorded under its own path: it was looked at.
func (t *task) list(dir string) []string {
	t.at(dir)
	names, err := within(t.ctx, 2*time.Second, func(context.Context) ([]string, error) { return t.host.names(dir) })
	switch {
	case err != nil:
		t.fail(dir, err)
	case len(names) == 0:
		t.note(dir, evidence.Absent, "nothing in it")
	}
	return names
}

// names lists a directory up to a bound; a directory beyond it is refused, so
// that a part of it is never taken for the whole.
func (h *Host) names(dir string) ([]string, error) {
	f, err := h.files.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	d, ok := f.(fs.ReadDirFile)
	if !ok {
		return nil, &fs.PathError{Op: "list", Path: dir, Err: errors.New("is no directory")}
	}
	var out []string
	for {
		batch, err := d.ReadDir(256)
		for _, e := range batch {
			out = append(out, e.Name())
		}
		if len(out) > maxListing {
			return nil, fmt.Errorf("%w of %d entries in a directory", errTooLong, maxListing)
		}
		switch {
		case errors.Is(err, io.EOF) || err == nil && len(batch) == 0:
			slices.Sort(out)
			return out, nil
		case err != nil:
			return nil, err
		}
	}
}

// broken records that a source panicked, under the first name that says what is
// missing. A device must not end the program that reads all others.
func (t *task) broken(source string) {
	r := recover()
	if r == nil {
		return
	}
	t.mu.Lock()
	names := append([]string{t.current}, append(mainPaths(source), "panic/"+source)...)
	free := slices.IndexFunc(names, func(n string) bool { _, have := t.entries[n]; return n != "" && !have })
	t.mu.Unlock()
	if free >= 0 {
		t.note(names[free], evidence.Failed, fmt.Sprintf("the source ended with a panic: %v; what it would have read after this is missing", r))
	}
}

// finish ends the task: nothing is taken after it.
func (t *task) finish(timedOut bool) []entry {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	if timedOut && t.current != "" {
		if _, have := t.entries[t.current]; !have {
			t.entries[t.current] = entry{path: t.current, status: evidence.TimedOut, reason: "the source did not finish in its time; what it would have read after this is missing"}
		}
	}
	out := make([]entry, 0, len(t.entries))
	for _, e := range t.entries {
		out = append(out, e)
	}
	slices.SortStableFunc(out, func(a, b entry) int { return strings.Compare(a.path, b.path) })
	return out
}
