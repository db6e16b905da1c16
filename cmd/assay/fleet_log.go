package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/fleet"
	"github.com/assay-hw/assay/fleet/api"
	"github.com/assay-hw/assay/fleet/auditlog"
	"github.com/assay-hw/assay/fleet/client"
	"github.com/assay-hw/assay/fleet/server"
	"github.com/assay-hw/assay/report"
)

func newFleetLogCommand(env *environment) *cobra.Command {
	var r reach
	var keep string
	var results bool
	var out outputOptions
	cmd := &cobra.Command{
		Use:   "log",
		Short: "The audit log, checked",
		Long: `Prints who did what, and checks that each line follows the one before. With
--checkpoints the log is also held against the signed checkpoints in a file of yours,
and the one of now is added: a log that was cut or written anew since then shows. Keep
the file where nobody who runs the server can write. --results checks the server's
signature on each result, and that none is missing between two of a machine.

Exits 1 when something does not fit (EV-009).`,
		Example: "  assay fleet log --checkpoints /media/auditor/fleet.checkpoints --results --quiet",
		Args:    exactly(0),
	}
	cmd.RunE = r.asking(func(ctx context.Context, c *client.Client, _ []string) error {
		if err := out.check("text", "json"); err != nil {
			return err
		}
		l := &logCheck{client: c, file: keep}
		err := l.run(ctx, results)
		var b bytes.Buffer
		if out.format == "json" {
			if err := asJSON(&b, l); err != nil {
				return err
			}
		} else {
			l.text(&b)
		}
		if werr := out.write(env, b.Bytes()); werr != nil {
			return werr
		}
		if err == nil && len(l.Broken) > 0 {
			return &exitError{code: 1}
		}
		return err
	})
	r.addFlags(cmd.Flags())
	cmd.Flags().StringVar(&keep, "checkpoints", "", "file of signed checkpoints to check against and to add to")
	cmd.Flags().BoolVar(&results, "results", false, "check the signatures of all results, too")
	out.addFlags(cmd.Flags(), "text", "json")
	return cmd
}

// logCheck is what fleet log prints in JSON.
type logCheck struct {
	Entries     []auditlog.Entry `json:"entries"`
	Checkpoints int              `json:"checkpoints"` // that the log was held against
	Results     int              `json:"results"`     // that were checked
	Broken      []string         `json:"broken"`

	client *client.Client
	file   string
}

func (l *logCheck) broken(format string, args ...any) {
	l.Broken = append(l.Broken, string(finding.AuditLog)+" "+fmt.Sprintf(format, args...))
}

func (l *logCheck) run(ctx context.Context, results bool) error {
	l.Entries, l.Broken = []auditlog.Entry{}, []string{}
	if err := l.read(ctx); err != nil {
		return err
	}
	if err := auditlog.Check(0, "", l.Entries); err != nil {
		l.broken("%v", err)
	}
	var now api.Checkpoint
	if l.file != "" || results {
		if err := l.client.Do(ctx, http.MethodGet, "/v1/checkpoint", nil, nil, &now); err != nil {
			return asked(err)
		}
	}
	kept := &checkpoints{Key: now.Key}
	if l.file != "" {
		var err error
		if kept, err = readCheckpoints(l.file, now.Key); err != nil {
			return err
		}
		if kept.Key != now.Key {
			l.broken("the server's key is %s, and was %s", now.Key, kept.Key)
		}
		if err := l.hold(kept, now); err != nil {
			return err
		}
	}
	if results {
		return l.seals(ctx, kept.Key)
	}
	return nil
}

func (l *logCheck) read(ctx context.Context) error {
	for after := int64(0); ; {
		var page []auditlog.Entry
		if err := l.client.Do(ctx, http.MethodGet, "/v1/log", url.Values{"after": {strconv.FormatInt(after, 10)}}, nil, &page); err != nil {
			return asked(err)
		}
		if len(page) == 0 {
			return nil
		}
		l.Entries = append(l.Entries, page...)
		next := page[len(page)-1].Seq
		if next <= after {
			l.broken("line %d follows line %d", next, after)
			return nil
		}
		after = next
	}
}

// checkpoints are what an auditor keeps of a server.
type checkpoints struct {
	Format string   `json:"format"`
	Key    string   `json:"key"`
	Notes  []string `json:"notes"`
}

const (
	checkpointsFormat = "assay.fleet-checkpoints/v1"
	maxCheckpoints    = 16 << 20
)

func readCheckpoints(name, key string) (*checkpoints, error) {
	c := &checkpoints{Format: checkpointsFormat, Key: key}
	if _, err := os.Stat(name); errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	raw, err := readInput(name, maxCheckpoints)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(raw, c); err != nil || c.Format != checkpointsFormat {
		return nil, unreadable(fmt.Errorf("%s: no file of checkpoints: %w", name, errors.Join(err, fs.ErrInvalid)))
	}
	return c, nil
}

// hold compares the log with each checkpoint, and adds the one of now when all fit.
func (l *logCheck) hold(kept *checkpoints, now api.Checkpoint) error {
	for i, n := range append(kept.Notes, now.Note) {
		c, err := auditlog.Open([]byte(n), kept.Key)
		if err != nil {
			l.broken("checkpoint %d: %v", i+1, err)
			continue
		}
		l.Checkpoints++
		switch at := c.Seq; {
		case at > int64(len(l.Entries)):
			if i < len(kept.Notes) { // the newest may be of a line that came after the log was read
				l.broken("the log had %d lines at %s, and has %d", at, c.At.Format(time.RFC3339), len(l.Entries))
			}
		case at > 0 && l.Entries[at-1].Hash != c.Hash:
			l.broken("line %d is not what it was at %s", at, c.At.Format(time.RFC3339))
		}
	}
	if len(l.Broken) > 0 {
		return nil
	}
	kept.Notes = append(kept.Notes, now.Note)
	var b bytes.Buffer
	if err := asJSON(&b, kept); err != nil {
		return err
	}
	return writeFile(l.file, b.Bytes())
}

// seals checks that the server signed each result, and that each follows the one
// before. What retention took away is at the beginning only.
func (l *logCheck) seals(ctx context.Context, key string) error {
	last := map[string]string{}
	return allResults(ctx, l.client, time.Time{}, func(r *fleet.Result) error {
		l.Results++
		if why := server.Unsealed(key, r); why != "" {
			l.broken("result %s of %s: %s", r.ID, r.Host, why)
		}
		if before, ok := last[r.Host]; ok && r.Prev != "" && r.Prev != before {
			l.broken("result %s of %s follows %s, and %s is here", r.ID, r.Host, r.Prev, before)
		}
		if r.Prev != "" || last[r.Host] == "" {
			last[r.Host] = r.ID
		}
		return nil
	})
}

// allResults reads all results, the oldest first.
func allResults(ctx context.Context, c *client.Client, since time.Time, f func(*fleet.Result) error) error {
	id := ""
	for {
		var page []fleet.Result
		q := url.Values{"limit": {"1000"}, "id": {id}}
		if !since.IsZero() {
			q.Set("after", since.Format(time.RFC3339Nano))
		}
		if err := c.Do(ctx, http.MethodGet, "/v1/results", q, nil, &page); err != nil {
			return asked(err)
		}
		for i := range page {
			if err := f(&page[i]); err != nil {
				return err
			}
			since, id = page[i].At, page[i].ID
		}
		if len(page) < 1000 {
			return nil
		}
	}
}

func (l *logCheck) text(b *bytes.Buffer) {
	for _, e := range l.Entries {
		fmt.Fprintf(b, "%6d %s %-16s %-20s %s %s\n", e.Seq, e.At.Format(time.RFC3339), report.Plain(e.Actor), report.Plain(e.Action), report.Plain(e.Subject), report.Plain(e.Detail))
	}
	for _, s := range l.Broken {
		fmt.Fprintf(b, "BROKEN: %s\n", report.Plain(s))
	}
	if len(l.Broken) == 0 {
		fmt.Fprintf(b, "%d lines follow each other; %d checkpoints fit; %d results are signed\n", len(l.Entries), l.Checkpoints, l.Results)
	}
}
