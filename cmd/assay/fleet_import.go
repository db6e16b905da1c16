package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/fleet/api"
	"github.com/assay-hw/assay/fleet/client"
	"github.com/assay-hw/assay/fleet/server"
	"github.com/assay-hw/assay/report"
)

func newFleetImportCommand(env *environment) *cobra.Command {
	var r reach
	var host string
	cmd := &cobra.Command{
		Use:   "import FILE...",
		Short: "Bring evidence of machines without a network, or a site's inventory",
		Long: `A bundle (zip) is sent as the machine's answer to the nonce that it was scanned with:
assay fleet audit HOST --offline gives one. It is judged as all evidence is.

A CSV with a heading gives machines names, sites and lots. Columns are id, serial, uuid
(one of them finds the machine), name, site and lot; others are named and passed over.
Rows that fit no machine are told, and the command ends with 3.`,
		Example: "  assay fleet import h-5f0c.evidence.zip --host node-17\n  assay fleet import inventory.csv",
		Args:    cobra.MinimumNArgs(1),
	}
	cmd.RunE = r.asking(func(ctx context.Context, c *client.Client, args []string) error {
		left := 0
		for _, name := range args {
			n, err := importFile(ctx, env, c, name, host)
			if err != nil {
				return err
			}
			left += n
		}
		if left > 0 {
			return &exitError{code: 3}
		}
		return nil
	})
	r.addFlags(cmd.Flags())
	cmd.Flags().StringVar(&host, "host", "", "machine that a bundle is of, by id or name")
	return cmd
}

func importFile(ctx context.Context, env *environment, c *client.Client, name, host string) (left int, err error) {
	f, err := os.Open(name)
	if err != nil {
		return 0, unreadable(err)
	}
	head := make([]byte, 4)
	_, err = io.ReadFull(f, head)
	_ = f.Close() // it was read only
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return 0, unreadable(fmt.Errorf("%s: %w", name, err))
	}
	if bytes.HasPrefix(head, []byte("PK\x03\x04")) {
		return 0, importEvidence(ctx, env, c, name, host)
	}
	return importInventory(ctx, env, c, name)
}

func importEvidence(ctx context.Context, env *environment, c *client.Client, name, host string) error {
	if host == "" {
		return usage("%s: --host is needed: whose evidence is it?", name)
	}
	raw, err := readInput(name, api.MaxEvidence)
	if err != nil {
		return err
	}
	b, err := evidence.OpenZip(raw, name, evidence.Limits{})
	if err != nil {
		return unreadable(err)
	}
	nonce, err := b.Nonce()
	if err != nil {
		return unreadable(fmt.Errorf("%s: %w", name, err))
	}
	if len(nonce) == 0 {
		return unreadable(fmt.Errorf("%s: the bundle was made without a nonce: get one with assay fleet audit --offline", name))
	}
	h, err := hostNamed(ctx, c, host)
	if err != nil {
		return err
	}
	got, err := c.Send(ctx, h.ID, &api.Audit{Nonce: hex.EncodeToString(nonce)}, raw)
	if err != nil {
		return asked(fmt.Errorf("%s: %w", name, err))
	}
	fmt.Fprintf(env.stdout, "%s: taken in as %s for %s\n", name, got.Evidence[:min(len(got.Evidence), 12)], report.Plain(h.Name))
	return nil
}

const (
	maxInventory  = 64 << 20
	recordsAtOnce = 10_000 // in one request
)

func importInventory(ctx context.Context, env *environment, c *client.Client, name string) (left int, err error) {
	raw, err := readInput(name, maxInventory)
	if err != nil {
		return 0, err
	}
	records, lines, unknown, err := readInventory(raw)
	if err != nil {
		return 0, unreadable(fmt.Errorf("%s: %w", name, err))
	}
	if len(unknown) > 0 {
		fmt.Fprintf(env.stderr, "%s: columns passed over: %s\n", name, report.Plain(strings.Join(unknown, ", ")))
	}
	for at := 0; at < len(records); at += recordsAtOnce {
		part := records[at:min(at+recordsAtOnce, len(records))]
		var got []server.Imported
		if err := c.Do(ctx, http.MethodPost, "/v1/inventory", nil, part, &got); err != nil {
			return left, asked(err)
		}
		for i, x := range got {
			if x.Host == "" {
				left++
				fmt.Fprintf(env.stderr, "%s: line %d: %s\n", name, lines[at+i], report.Plain(x.Why))
			}
		}
	}
	fmt.Fprintf(env.stdout, "%s: %d of %d rows used\n", name, len(records)-left, len(records))
	return left, nil
}

// readInventory reads a table with a heading, and the line of each record.
func readInventory(raw []byte) (out []server.Record, lines []int, unknown []string, err error) {
	in := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(raw, []byte("\xef\xbb\xbf"))))
	in.ReuseRecord = true
	head, err := in.Read()
	if err != nil {
		return nil, nil, nil, fmt.Errorf("heading: %w", err)
	}
	field := map[string]func(*server.Record) *string{
		"id": func(r *server.Record) *string { return &r.ID }, "serial": func(r *server.Record) *string { return &r.Serial }, "uuid": func(r *server.Record) *string { return &r.UUID },
		"name": func(r *server.Record) *string { return &r.Name }, "site": func(r *server.Record) *string { return &r.Site }, "lot": func(r *server.Record) *string { return &r.Lot },
	}
	var columns []func(*server.Record) *string
	keys := 0
	for _, h := range head {
		h = strings.ToLower(strings.TrimSpace(h))
		columns = append(columns, field[h])
		switch {
		case field[h] == nil:
			unknown = append(unknown, h)
		case h == "id" || h == "serial" || h == "uuid":
			keys++
		}
	}
	if keys == 0 {
		return nil, nil, nil, errors.New("no column id, serial or uuid: which machines are meant?")
	}
	for {
		row, err := in.Read()
		if errors.Is(err, io.EOF) {
			return out, lines, unknown, nil
		}
		if err != nil {
			return nil, nil, nil, err
		}
		var r server.Record
		for i, cell := range row {
			if columns[i] != nil {
				*columns[i](&r) = strings.Clone(strings.TrimSpace(cell))
			}
		}
		line, _ := in.FieldPos(0)
		out, lines = append(out, r), append(lines, line)
	}
}
