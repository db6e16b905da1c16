// Package testdata holds what the pages of the documentation are about: a recorded
// machine, what differs from it in other states, and a vendor's key that is public.
// The program writes it out for whoever wants to follow them (assay docs sample).
package testdata

import "embed"

// Files is the machines and keys, by their paths below this folder.
//
//go:embed machines/LICENSE.OVMF machines/baseline.evidence.zip machines/baseline-reboot.delta.zip
//go:embed machines/extra-nic-norom.delta.zip machines/dimm-swapped.delta.zip machines/missing-dimm.delta.zip
//go:embed machines/eventlog-edited.delta.zip machines/fw-patched-sec.delta.zip
//go:embed keys tpm tpm.sh
var Files embed.FS
