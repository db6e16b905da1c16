package main

import (
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
	"github.com/spf13/cobra"

	"github.com/assay-hw/assay/attest"
)

// newDocsBoot plays the boot of the recorded machine to a TPM in software: the pages
// for auditors need a machine that measures, and the reader has none to spare.
func newDocsBoot(env *environment) *cobra.Command {
	var address string
	cmd := &cobra.Command{
		Use: "boot LOG", Short: "Extend a software TPM as an event log says", Hidden: true,
		Long:    "Extends the registers of a TPM in software as firmware did when it wrote the log. It never talks to the TPM of a machine.",
		Example: `  assay docs boot machine/sys/kernel/security/tpm0/binary_bios_measurements --tpm swtpm:/tmp/tpm/sock`,
		Args:    exactly(1),
		RunE: func(_ *cobra.Command, args []string) error {
			path, ok := strings.CutPrefix(address, "swtpm:/")
			if !ok {
				return usage("--tpm %s: want swtpm:/PATH; registers of a real TPM are for its firmware", address)
			}
			raw, err := os.ReadFile(args[0])
			if err != nil {
				return unreadable(err)
			}
			log, err := attest.ParseLog(raw)
			if err != nil {
				return unreadable(fmt.Errorf("%s: %w", args[0], err))
			}
			conn, err := net.Dial("unix", "/"+path)
			if err != nil {
				return &exitError{exitIO, err}
			}
			defer conn.Close()
			n, err := playBoot(transport.FromReadWriter(conn), log)
			if err != nil {
				return &exitError{exitIO, err}
			}
			_, err = fmt.Fprintf(env.stdout, "%d events measured\n", n)
			return err
		},
	}
	cmd.Flags().StringVar(&address, "tpm", "", "socket of a software TPM, swtpm:/PATH")
	return cmd
}

// playBoot extends what a log says was extended, in the banks that it has.
func playBoot(t transport.TPM, log *attest.Log) (n int, err error) {
	algorithms := map[string]tpm2.TPMAlgID{"sha1": tpm2.TPMAlgSHA1, "sha256": tpm2.TPMAlgSHA256, "sha384": tpm2.TPMAlgSHA384, "sha512": tpm2.TPMAlgSHA512}
	for _, e := range log.Events() {
		if e.Type == "EV_NO_ACTION" {
			continue
		}
		var digests []tpm2.TPMTHA
		for _, bank := range log.Banks() {
			d, err := hex.DecodeString(e.Digests[bank])
			if a, known := algorithms[bank]; err == nil && known && len(d) > 0 {
				digests = append(digests, tpm2.TPMTHA{HashAlg: a, Digest: d})
			}
		}
		_, err := tpm2.PCRExtend{
			PCRHandle: tpm2.AuthHandle{Handle: tpm2.TPMHandle(e.PCR), Auth: tpm2.PasswordAuth(nil)},
			Digests:   tpm2.TPMLDigestValues{Digests: digests},
		}.Execute(t)
		if err != nil {
			return n, fmt.Errorf("event %d: %w", e.Number, err)
		}
		n++
	}
	return n, nil
}
