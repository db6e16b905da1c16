package collect

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/evidence"
)

// repository answers for sensor data records as IPMI 2.0, 33.11 and 33.12 say.
type repository struct {
	records  [][]byte
	most     int // bytes of a record in one response; 0 for no limit
	lost     int // how often a reservation is lost in the middle of a record
	reserved uint16
	reads    int
	lie      func(id uint16, response []byte) []byte
}

func sdrRecord(id uint16, n int) []byte {
	b := append(binary.LittleEndian.AppendUint16(nil, id), 0x51, 0x01, byte(n))
	return append(b, bytes.Repeat([]byte{byte(id)}, n)...)
}

func (r *repository) answer(_, command byte, data []byte) ([]byte, error) {
	if command == cmdReserveSDR {
		r.reserved++
		return binary.LittleEndian.AppendUint16(nil, r.reserved), nil
	}
	r.reads++
	id, offset, n := binary.LittleEndian.Uint16(data[2:]), int(data[4]), int(data[5])
	if offset > 0 && (binary.LittleEndian.Uint16(data) != r.reserved || r.lost > 0) {
		r.lost--
		return completed([]byte{byte(reservationLost)})
	}
	if int(id) >= len(r.records) {
		return completed([]byte{0xcb})
	}
	rec := r.records[id]
	if n == 0xff {
		n = len(rec)
	}
	if r.most > 0 && n > r.most {
		return completed([]byte{0xca}) // cannot return this many bytes
	}
	next := uint16(sdrLast)
	if int(id)+1 < len(r.records) {
		next = id + 1
	}
	got := append(binary.LittleEndian.AppendUint16(nil, next), rec[offset:min(len(rec), offset+n)]...)
	if r.lie != nil {
		got = r.lie(id, got)
	}
	return got, nil
}

func sdrOf(t *testing.T, r *repository) entry {
	t.Helper()
	return bmcOf(t, &fakeBMC{sdr: r.answer})[sdrPath]
}

func TestTheRepositoryIsReadWhole(t *testing.T) {
	records := [][]byte{sdrRecord(0, 60), sdrRecord(1, 0), sdrRecord(2, 11), sdrRecord(3, 250)}
	want := bytes.Join(records, nil)
	for _, most := range []int{0, 32, 16} {
		e := sdrOf(t, &repository{records: records, most: most})
		require.Equal(t, evidence.Collected, e.status)
		require.Empty(t, e.reason)
		require.Equal(t, want, e.data, "at most %d bytes at a time", most)
	}
	whole := &repository{records: records}
	sdrOf(t, whole)
	require.Equal(t, len(records), whole.reads, "one request per record where the controller can")
}

func TestALostReservationIsTakenAgain(t *testing.T) {
	r := &repository{records: [][]byte{sdrRecord(0, 60), sdrRecord(1, 60)}, most: 16, lost: 3}
	e := sdrOf(t, r)
	require.Equal(t, bytes.Join(r.records, nil), e.data)
	require.Empty(t, e.reason)
	require.EqualValues(t, 4, r.reserved)

	r = &repository{records: r.records, most: 16, lost: 1000}
	e = sdrOf(t, r)
	require.Equal(t, evidence.Failed, e.status, "a controller that takes every reservation away is not asked for ever")
	require.Contains(t, e.reason, "reservation was lost")
	require.LessOrEqual(t, r.reads, 30)
}

func TestARepositoryThatLiesIsBounded(t *testing.T) {
	good := [][]byte{sdrRecord(0, 20), sdrRecord(1, 20), sdrRecord(2, 20)}
	next := func(n uint16) func(uint16, []byte) []byte {
		return func(id uint16, b []byte) []byte {
			if id == 2 {
				binary.LittleEndian.PutUint16(b, n)
			}
			return b
		}
	}
	for name, c := range map[string]struct {
		records [][]byte
		lie     func(uint16, []byte) []byte
		reason  string
		keeps   int // whole records
	}{
		"comes back to the first":     {good, next(0), "comes back to 0x0000", 3},
		"comes back to itself":        {good, next(2), "comes back to 0x0002", 3},
		"names one that is not there": {good, next(77), "record 0x004d: completion code 0xcb", 3},
		"gives nothing": {good, func(id uint16, b []byte) []byte {
			if id == 1 {
				return b[:2]
			}
			return b
		}, "record 0x0001: no data at offset 0", 1},
		"gives an empty response": {good, func(uint16, []byte) []byte { return nil }, "no data", 0},
		"claims more than it gives": {good, func(id uint16, b []byte) []byte {
			if id == 1 && len(b) > 6 {
				b[6] = 0xff
			}
			return b
		}, "record 0x0001: no data at offset 25", 1},
		"gives more than it claims": {good, func(_ uint16, b []byte) []byte { return append(b, make([]byte, 900)...) }, "", 3},
	} {
		t.Run(name, func(t *testing.T) {
			r := &repository{records: c.records, lie: c.lie}
			e := sdrOf(t, r)
			require.LessOrEqual(t, r.reads, 40)
			require.Equal(t, c.keeps*25, len(e.data), "records are kept whole")
			if c.reason == "" {
				require.Empty(t, e.reason)
			} else {
				require.Contains(t, e.reason, c.reason)
			}
			if c.keeps == 0 {
				require.Equal(t, evidence.Failed, e.status)
			}
		})
	}
	endless := 0
	e := bmcOf(t, &fakeBMC{sdr: func(_, command byte, data []byte) ([]byte, error) {
		endless++
		if command == cmdReserveSDR {
			return nil, nil
		}
		id := binary.LittleEndian.Uint16(data[2:])
		return append(binary.LittleEndian.AppendUint16(nil, id+1), sdrRecord(id, 3)...), nil
	}})[sdrPath]
	require.Contains(t, e.reason, fmt.Sprintf("more than %d records", maxSDRs))
	require.Len(t, e.data, maxSDRs*8)
	require.LessOrEqual(t, endless, maxSDRs+1)
	require.Equal(t, evidence.Failed, bmcOf(t, &fakeBMC{})[sdrPath].status, "a controller without a repository says so")
}

// A controller that stops answering in the middle is left, and what it gave is
// kept.
func TestARepositoryThatHangs(t *testing.T) {
	r := &repository{records: [][]byte{sdrRecord(0, 20), sdrRecord(1, 20)}}
	asked := 0
	e := bmcOf(t, &fakeBMC{sdr: func(n, c byte, data []byte) ([]byte, error) {
		if asked++; asked > 2 {
			return nil, errTimeout
		}
		return r.answer(n, c, data)
	}})[sdrPath]
	require.Equal(t, 3, asked)
	require.Len(t, e.data, 25)
	require.Contains(t, e.reason, "record 0x0001: no answer in time")
}
