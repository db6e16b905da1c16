package collect

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/assay-hw/assay/evidence"
)

const (
	sdrPath        = "ipmi/sdr.bin"
	deviceGUIDPath = "ipmi/device-guid.bin"
	systemGUIDPath = "ipmi/system-guid.bin"

	cmdDeviceGUID, cmdSystemGUID = 0x08, 0x37 // IPMI 2.0, 20.8 and 22.14
	cmdReserveSDR, cmdGetSDR     = 0x22, 0x23 // IPMI 2.0, 33.11 and 33.12

	sdrHeader   = 5      // id, version, type, number of bytes that follow (IPMI 2.0, 43)
	sdrLast     = 0xffff // follows the last record
	maxSDRs     = 2048   // the largest repositories of servers have some hundred
	maxRenewals = 8      // of a reservation, which every change of the repository ends
)

// guids reads the numbers that the controller has of itself and of the system.
// Many controllers have none.
func (t *task) guids(do bmcCommand) (hangs bool) {
	for _, g := range []struct {
		name    string
		command byte
	}{{deviceGUIDPath, cmdDeviceGUID}, {systemGUIDPath, cmdSystemGUID}} {
		t.at(g.name)
		id, err := do(t.ctx, netFnApp, g.command, nil)
		if _, refused := errors.AsType[completion](err); refused {
			t.note(g.name, evidence.Absent, err.Error())
		} else if err != nil {
			t.fail(g.name, err)
			hangs = hangs || errors.Is(err, errTimeout)
		} else {
			t.add(g.name, id)
		}
	}
	return hangs
}

// sdr reads the sensor data repository: record after record as the controller
// names the next one. What was read before a chain breaks is kept, with the
// reason why it is not all.
func (t *task) sdr(do bmcCommand) (hangs bool) {
	t.at(sdrPath)
	r := &sdrReader{ctx: t.ctx, do: do, whole: true}
	if err := r.reserve(); errors.Is(err, errTimeout) {
		t.fail(sdrPath, err)
		return true
	}
	all, err := r.chain()
	switch {
	case err != nil && len(all) == 0:
		t.fail(sdrPath, err)
	case err != nil:
		t.put(entry{path: sdrPath, data: all, status: evidence.Collected, reason: "not all of it: " + err.Error()})
	default:
		t.add(sdrPath, all)
	}
	return errors.Is(err, errTimeout)
}

type sdrReader struct {
	ctx         context.Context
	do          bmcCommand
	reservation [2]byte
	renewals    int
	whole       bool // whether the controller gives whole records
}

// reserve takes a reservation. A controller without reservations takes 0.
func (r *sdrReader) reserve() error {
	id, err := r.do(r.ctx, netFnStorage, cmdReserveSDR, nil)
	r.reservation = [2]byte{}
	if err == nil && len(id) >= 2 {
		r.reservation = [2]byte(id)
	}
	return err
}

func (r *sdrReader) chain() ([]byte, error) {
	var all []byte
	seen := map[uint16]bool{}
	for id := uint16(0); id != sdrLast; {
		switch {
		case seen[id]:
			return all, fmt.Errorf("the chain of records comes back to 0x%04x", id)
		case len(seen) == maxSDRs:
			return all, fmt.Errorf("more than %d records", maxSDRs)
		case r.ctx.Err() != nil:
			return all, errTimeout
		}
		seen[id] = true
		rec, next, err := r.record(id)
		if err != nil {
			return all, fmt.Errorf("record 0x%04x: %w", id, err)
		}
		all, id = append(all, rec...), next
	}
	return all, nil
}

// record reads one record: in one piece, or in pieces that every controller's
// interface carries. Its length is the controller's claim.
func (r *sdrReader) record(id uint16) (rec []byte, next uint16, err error) {
	const chunk, entire = 16, 0xff
	for want := sdrHeader; len(rec) < want; {
		if len(rec) > 0xff {
			return nil, 0, fmt.Errorf("%d bytes of %d, and no offset reaches the rest", len(rec), want)
		}
		n := byte(min(chunk, want-len(rec)))
		if r.whole && len(rec) == 0 {
			n = entire
		}
		got, err := r.do(r.ctx, netFnStorage, cmdGetSDR, []byte{r.reservation[0], r.reservation[1], byte(id), byte(id >> 8), byte(len(rec)), n})
		code, refused := errors.AsType[completion](err)
		switch {
		case refused && code == reservationLost:
			if r.renewals++; r.renewals > maxRenewals {
				return nil, 0, fmt.Errorf("the reservation was lost %d times", r.renewals)
			}
			if err := r.reserve(); err != nil {
				return nil, 0, err
			}
			rec, want = nil, sdrHeader
			continue
		case refused && n == entire:
			r.whole = false
			continue
		case err != nil:
			return nil, 0, err
		case len(got) < 3:
			return nil, 0, fmt.Errorf("no data at offset %d", len(rec))
		}
		next = binary.LittleEndian.Uint16(got)
		rec = append(rec, got[2:]...)
		if len(rec) >= sdrHeader {
			want = sdrHeader + int(rec[4])
			rec = rec[:min(len(rec), want)]
		}
	}
	return rec, next, nil
}
