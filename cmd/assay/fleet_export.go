package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/spf13/cobra"

	"github.com/assay-hw/assay/board"
	"github.com/assay-hw/assay/fleet"
	"github.com/assay-hw/assay/fleet/api"
	"github.com/assay-hw/assay/fleet/client"
	"github.com/assay-hw/assay/internal/outfile"
)

// The rows of exports. Names of columns are part of the product: auditors build on
// them.
type (
	machineRow struct {
		ID           string     `parquet:"id"`
		Name         string     `parquet:"name"`
		Site         string     `parquet:"site"`
		Lot          string     `parquet:"lot"`
		Mode         string     `parquet:"mode"`
		State        string     `parquet:"state"`
		Since        *time.Time `parquet:"since,optional,timestamp(microsecond)"`
		Level        string     `parquet:"level"`
		LastAttested *time.Time `parquet:"last_attested,optional,timestamp(microsecond)"`
		LastSeen     *time.Time `parquet:"last_seen,optional,timestamp(microsecond)"`
		NextDue      *time.Time `parquet:"next_due,optional,timestamp(microsecond)"`
		EnrolledAt   *time.Time `parquet:"enrolled_at,optional,timestamp(microsecond)"`
		Findings     int64      `parquet:"findings"`
		Worst        string     `parquet:"worst"`
		Manufacturer string     `parquet:"manufacturer"`
		Product      string     `parquet:"product"`
		Serial       string     `parquet:"serial"`
		UUID         string     `parquet:"uuid"`
		EKSHA256     string     `parquet:"ek_sha256"`
		Profile      string     `parquet:"profile"`
		Result       string     `parquet:"result"`
	}
	findingRow struct {
		Host        string     `parquet:"host"`
		Code        string     `parquet:"code"`
		Name        string     `parquet:"name"`
		Severity    string     `parquet:"severity"`
		Confidence  string     `parquet:"confidence"`
		Subject     string     `parquet:"subject"`
		Slot        string     `parquet:"slot"`
		Want        string     `parquet:"want"`
		Got         string     `parquet:"got"`
		Why         string     `parquet:"why"`
		FirstSeen   *time.Time `parquet:"first_seen,optional,timestamp(microsecond)"`
		LastSeen    *time.Time `parquet:"last_seen,optional,timestamp(microsecond)"`
		Exception   string     `parquet:"exception"`
		Fingerprint string     `parquet:"fingerprint"`
	}
	resultRow struct {
		ID       string     `parquet:"id"`
		Host     string     `parquet:"host"`
		At       *time.Time `parquet:"at,optional,timestamp(microsecond)"`
		State    string     `parquet:"state"`
		Verdict  string     `parquet:"verdict"`
		Level    string     `parquet:"level"`
		Evidence string     `parquet:"evidence"`
		Document string     `parquet:"document"` // SHA-256 of the Attestation Result
		Changes  int64      `parquet:"changes"`
		Changed  string     `parquet:"changed"` // JSON
		Prev     string     `parquet:"prev"`
		Seal     string     `parquet:"seal"` // of the server, in hexadecimal
	}
)

type tableOptions struct {
	reach
	what, format, file string
	since              string
}

func newFleetExportCommand(env *environment) *cobra.Command {
	var o tableOptions
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Machines, findings or results as a table for your own tools",
		Long: `Writes one row for each machine, each finding that stands, or each result, as CSV, JSON
lines or Parquet. Names of columns stay; new ones are added at the end. --since has results begin after a
time, to go on where the last export ended. Cells of CSV that a spreadsheet would take for a formula begin with an
apostrophe.`,
		Example: "  assay fleet export --what machines --format parquet -o machines.parquet\n  assay fleet export --what results --since 2026-11-01T00:00:00Z --format csv -o results.csv",
		Args:    exactly(0),
	}
	cmd.RunE = o.asking(func(ctx context.Context, c *client.Client, _ []string) error { return o.run(ctx, env, c) })
	fs := cmd.Flags()
	o.addFlags(fs)
	fs.StringVar(&o.what, "what", "machines", "machines, findings or results")
	fs.StringVar(&o.format, "format", "csv", "csv, jsonl or parquet")
	fs.StringVar(&o.since, "since", "", "results after this time (RFC 3339)")
	fs.StringVarP(&o.file, "output", "o", "", "write to this file instead of standard output")
	return cmd
}

func (o *tableOptions) run(ctx context.Context, env *environment, c *client.Client) error {
	if !slices.Contains([]string{"csv", "jsonl", "parquet"}, o.format) {
		return usage("--format %s: want csv, jsonl or parquet", o.format)
	}
	var since time.Time
	if o.since != "" {
		var err error
		if since, err = time.Parse(time.RFC3339, o.since); err != nil || o.what != "results" {
			return usage("--since %s: want a time as 2026-11-01T00:00:00Z, and --what results", o.since)
		}
	}
	write := map[string]func(io.Writer) error{
		"machines": func(w io.Writer) error {
			return table(w, o.format, func(put func(machineRow) error) error { return eachMachine(ctx, c, put) })
		},
		"findings": func(w io.Writer) error {
			return table(w, o.format, func(put func(findingRow) error) error { return eachFinding(ctx, c, put) })
		},
		"results": func(w io.Writer) error {
			return table(w, o.format, func(put func(resultRow) error) error {
				return allResults(ctx, c, since, func(r *fleet.Result) error { return put(rowOfResult(r)) })
			})
		},
	}[o.what]
	if write == nil {
		return usage("--what %s: want machines, findings or results", o.what)
	}
	if o.file == "" || o.file == "-" {
		return write(env.stdout)
	}
	return outfile.Write(o.file, 0o644, write)
}

// table writes rows as they come, so that a large fleet needs no large memory.
func table[T any](w io.Writer, format string, rows func(put func(T) error) error) error {
	switch format {
	case "parquet":
		p := parquet.NewGenericWriter[T](w, parquet.Compression(&parquet.Zstd))
		if err := rows(func(r T) error { _, err := p.Write([]T{r}); return err }); err != nil {
			return err
		}
		return p.Close()
	case "jsonl":
		names := columns[T]()
		return rows(func(r T) error {
			line := map[string]any{}
			for i, v := range values(r) {
				line[names[i]] = v.Interface()
			}
			b, err := json.Marshal(line)
			if err != nil {
				return err
			}
			_, err = w.Write(append(b, '\n'))
			return err
		})
	}
	out := csv.NewWriter(w)
	if err := out.Write(columns[T]()); err != nil {
		return err
	}
	err := rows(func(r T) error {
		var cells []string
		for _, v := range values(r) {
			cells = append(cells, cell(v))
		}
		return out.Write(cells)
	})
	out.Flush()
	if err == nil {
		err = out.Error()
	}
	return err
}

func columns[T any]() (out []string) {
	t := reflect.TypeFor[T]()
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("parquet"), ",")
		out = append(out, name)
	}
	return out
}

func values(row any) (out []reflect.Value) {
	v := reflect.ValueOf(row)
	for i := range v.NumField() {
		out = append(out, v.Field(i))
	}
	return out
}

func cell(v reflect.Value) string {
	switch x := v.Interface().(type) {
	case *time.Time:
		if x == nil {
			return ""
		}
		return x.UTC().Format(time.RFC3339Nano)
	case int64:
		return strconv.FormatInt(x, 10)
	}
	return board.Guard(v.String())
}

func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

func eachMachine(ctx context.Context, c *client.Client, put func(machineRow) error) error {
	q := url.Values{"limit": {"1000"}}
	for {
		var p api.Page
		if err := c.Do(ctx, http.MethodGet, "/v1/hosts", q, nil, &p); err != nil {
			return asked(err)
		}
		for i := range p.Hosts {
			h := &p.Hosts[i]
			worst := ""
			if h.Findings > 0 {
				worst = h.Worst.String()
			}
			err := put(machineRow{
				ID: h.ID, Name: h.Name, Site: h.Site, Lot: h.Lot, Mode: string(h.Mode), State: string(h.State), Since: moment(h.Since), Level: h.Level,
				LastAttested: moment(h.LastAttested), LastSeen: moment(h.LastSeen), NextDue: moment(h.NextDue), EnrolledAt: moment(h.EnrolledAt), Findings: int64(h.Findings), Worst: worst,
				Manufacturer: h.Identity.Manufacturer, Product: h.Identity.Product, Serial: h.Identity.Serial, UUID: h.Identity.UUID, EKSHA256: h.Identity.EKSHA256, Profile: h.Profile, Result: h.Result,
			})
			if err != nil {
				return err
			}
		}
		if p.After == "" {
			return nil
		}
		q.Set("after", p.After)
	}
}

func eachFinding(ctx context.Context, c *client.Client, put func(findingRow) error) error {
	q := url.Values{"limit": {"1000"}}
	for {
		var p api.Findings
		if err := c.Do(ctx, http.MethodGet, "/v1/findings", q, nil, &p); err != nil {
			return asked(err)
		}
		for i := range p.Open {
			o := &p.Open[i]
			f := &o.Finding
			err := put(findingRow{
				Host: o.Host, Code: string(f.Code), Name: f.Name, Severity: f.Severity.String(), Confidence: f.Confidence.String(), Subject: f.Subject, Slot: f.Location.Slot,
				Want: f.Want, Got: f.Got, Why: f.Why, FirstSeen: moment(o.FirstSeen), LastSeen: moment(o.LastSeen), Exception: o.Exception, Fingerprint: f.Fingerprint,
			})
			if err != nil {
				return err
			}
		}
		if p.After == "" {
			return nil
		}
		q.Set("after", p.After)
	}
}

func rowOfResult(r *fleet.Result) resultRow {
	changed, err := json.Marshal(r.Changes)
	if err != nil {
		changed = nil // changes are texts
	}
	return resultRow{
		ID: r.ID, Host: r.Host, At: moment(r.At), State: string(r.State), Verdict: string(r.Verdict), Level: r.Level, Evidence: r.Evidence, Document: r.Blob,
		Changes: int64(len(r.Changes)), Changed: string(bytes.TrimSpace(changed)), Prev: r.Prev, Seal: fmt.Sprintf("%x", r.Seal),
	}
}
