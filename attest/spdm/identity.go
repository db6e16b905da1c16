package spdm

import "math/bits"

func (p *parser) digests() error {
	h, err := p.expect(p.t.Version, getDigests-0x80, "DIGESTS")
	if err != nil {
		return err
	}
	each := p.t.suite.hash.hash.Size()
	if p.t.suite.keys {
		each += 4 // KeyPairID, CertificateInfo, KeyUsageMask
	}
	_, err = p.take(each*bits.OnesCount8(h.param2), "DIGESTS")
	return err
}

// certificate collects the portions of a slot's chain.
func (p *parser) certificate(request header) error {
	offset, err := p.uint16("GET_CERTIFICATE")
	if err != nil {
		return err
	}
	if _, err := p.uint16("GET_CERTIFICATE"); err != nil {
		return err
	}
	h, err := p.expect(p.t.Version, getCertificate-0x80, "CERTIFICATE")
	if err != nil {
		return err
	}
	length, err := p.uint16("CERTIFICATE")
	if err != nil {
		return err
	}
	remainder, err := p.uint16("CERTIFICATE")
	if err != nil {
		return err
	}
	portion, err := p.take(length, "portion of a certificate chain")
	if err != nil {
		return err
	}
	slot := int(request.param1 & 0xf)
	if int(h.param1&0xf) != slot {
		return malformed(h.at+2, "the chain of slot %d, slot %d was asked for", h.param1&0xf, slot)
	}
	if offset == 0 {
		p.parts[slot] = nil
	}
	if offset != len(p.parts[slot]) || offset+length > maxChain {
		return malformed(request.at+4, "portion at %d, want %d", offset, len(p.parts[slot]))
	}
	p.parts[slot] = append(p.parts[slot], portion...)
	if remainder == 0 && length > 0 {
		p.t.chains[slot] = p.parts[slot]
	}
	return nil
}

// challenge passes over an authentication: the signature over the measurements
// proves the same key.
func (p *parser) challenge(request header) error {
	skip := func(n int, what string) error { _, err := p.take(n, what); return err }
	context, hash := 0, p.t.suite.hash.hash.Size()
	if p.t.Version >= v13 {
		context = contextSize
	}
	if err := skip(nonceSize+context, "CHALLENGE"); err != nil {
		return err
	}
	if _, err := p.expect(p.t.Version, challenge-0x80, "CHALLENGE_AUTH"); err != nil {
		return err
	}
	fixed := hash + nonceSize
	if request.param2 != 0 {
		fixed += hash // MeasurementSummaryHash
	}
	if err := skip(fixed, "CHALLENGE_AUTH"); err != nil {
		return err
	}
	opaque, err := p.uint16("CHALLENGE_AUTH")
	if err != nil {
		return err
	}
	return skip(opaque+context+p.t.suite.sign.size, "CHALLENGE_AUTH")
}
