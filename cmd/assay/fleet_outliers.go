package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/assay-hw/assay/fleet/server"
	"github.com/assay-hw/assay/report"
)

func newFleetOutliersCommand(env *environment) *cobra.Command {
	var r reach
	var out outputOptions
	var limit int
	cmd := &cobra.Command{
		Use:   "outliers",
		Short: "Machines that are unlike others of their board, the oddest first",
		Long: `Compares machines with one board among each other, without any manifest: a part that
one of them has, a part that all others have, firmware that few run. It says where to
look first and proves nothing: a whole batch that was altered alike has no outlier.
Boards of fewer than five machines are not compared.`,
		Example: "  ASSAY_TOKEN=... assay fleet outliers\n  assay fleet outliers --limit 5 --format json",
		Args:    exactly(0),
	}
	cmd.RunE = func(*cobra.Command, []string) error {
		if err := out.check("text", "json"); err != nil {
			return err
		}
		c, err := r.client()
		if err != nil {
			return err
		}
		var odd []server.Outlier
		if err := c.Do(context.Background(), http.MethodGet, "/v1/outliers", url.Values{"limit": {strconv.Itoa(limit)}}, nil, &odd); err != nil {
			return asked(err)
		}
		var b bytes.Buffer
		if out.format == "json" {
			err = asJSON(&b, odd)
		} else {
			writeOutliers(&b, odd, out.all)
		}
		if err != nil {
			return err
		}
		return out.write(env, b.Bytes())
	}
	r.addFlags(cmd.Flags())
	cmd.Flags().IntVar(&limit, "limit", 50, "how many machines")
	out.addFlags(cmd.Flags(), "text", "json")
	return cmd
}

func writeOutliers(w io.Writer, odd []server.Outlier, all bool) {
	if len(odd) == 0 {
		fmt.Fprintln(w, "no machine is unlike others of its board (boards of fewer than five machines are not compared)")
	}
	for _, o := range odd {
		fmt.Fprintf(w, "%6.1f  %s (%s)  %s\n", o.Score, report.Plain(o.Name), report.Plain(o.Host), report.Plain(o.Profile))
		for i, x := range o.Odd {
			if i == 5 && !all {
				fmt.Fprintf(w, "          and %d more; --all lists them\n", len(o.Odd)-i)
				break
			}
			has := "has"
			if x.Lacks {
				has = "lacks"
			}
			fmt.Fprintf(w, "          %-5s %s (%d of %d have it)\n", has, report.Plain(x.Feature), x.Hosts, x.Of)
		}
	}
}
