package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/assay-hw/assay/fleet/alert"
)

func newFleetAlertsCommand(env *environment) *cobra.Command {
	return group("alerts", "Who is told what moved in the fleet", "  assay fleet alerts check --alerts alerts.yaml --send", newFleetAlertsCheckCommand(env))
}

func newFleetAlertsCheckCommand(env *environment) *cobra.Command {
	var file string
	var send bool
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Check the file that says who is told",
		Long: `Reads the file, the secrets and the certificates that it names, as fleet serve
--alerts does. --send also sends a test to each sink, and ends with 74 when one did
not take it.`,
		Example: "  assay fleet alerts check --alerts alerts.yaml\n  assay fleet alerts check --alerts alerts.yaml --send",
		Args:    exactly(0),
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if file == "" {
			return usage("--alerts: want the file")
		}
		a, err := openAlerts(env, file)
		if err != nil {
			return err
		}
		if !send {
			_, err := fmt.Fprintf(env.stdout, "%s: ok; nothing was sent (--send sends a test to each sink)\n", file)
			return err
		}
		tried, err := a.Try(cmd.Context())
		if err != nil {
			return &exitError{exitInternal, err}
		}
		failed := 0
		for _, x := range tried {
			if x.Err != nil {
				failed++
				fmt.Fprintf(env.stdout, "%s: failed: %v\n", x.Sink, x.Err)
			} else {
				fmt.Fprintf(env.stdout, "%s: sent\n", x.Sink)
			}
		}
		if failed > 0 {
			return &exitError{exitIO, fmt.Errorf("alerts: %d of %d sinks did not take the test", failed, len(tried))}
		}
		return nil
	}
	cmd.Flags().StringVar(&file, "alerts", "", "the file (YAML)")
	cmd.Flags().BoolVar(&send, "send", false, "send a test to each sink")
	return cmd
}

// openAlerts reads who is told; nobody without a file.
func openAlerts(env *environment, file string) (*alert.Alerts, error) {
	if file == "" {
		return nil, nil
	}
	raw, err := readInput(file, alert.MaxConfig)
	if err != nil {
		return nil, err
	}
	c, err := alert.Parse(raw)
	if err != nil {
		return nil, unreadable(fmt.Errorf("%s: %w", file, err))
	}
	a, err := alert.New(c, programVersion(), env.now)
	if err != nil {
		return nil, unreadable(err)
	}
	return a, nil
}
