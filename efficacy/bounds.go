package efficacy

import "math"

// Bounds is the exact two-sided interval for a rate, after so many hits in n
// independent trials (Clopper and Pearson, Biometrika 26, 1934): the least and the
// greatest rate that such a count does not contradict. confidence is 0.95 for an
// interval that covers the rate in 95 of 100 series.
func Bounds(hits, n int, confidence float64) (low, high float64) {
	if n <= 0 || hits < 0 || hits > n {
		return 0, 1
	}
	tail := (1 - confidence) / 2
	k, m := float64(hits), float64(n)
	high = 1
	if hits > 0 {
		low = quantile(tail, k, m-k+1)
	}
	if hits < n {
		high = quantile(1-tail, k+1, m-k)
	}
	return low, high
}

// quantile inverts the regularised incomplete beta function by bisection: it
// grows in x.
func quantile(p, a, b float64) float64 {
	low, high := 0.0, 1.0
	for range 200 {
		if mid := (low + high) / 2; beta(mid, a, b) < p {
			low = mid
		} else {
			high = mid
		}
	}
	return (low + high) / 2
}

// beta is the regularised incomplete beta function I_x(a, b) by its continued
// fraction (NIST Handbook of Mathematical Functions, 8.17.22), which converges
// fast on this side of the mean; the other side is its mirror.
func beta(x, a, b float64) float64 {
	switch {
	case x <= 0:
		return 0
	case x >= 1:
		return 1
	case x > (a+1)/(a+b+2):
		return 1 - beta(1-x, b, a)
	}
	la, _ := math.Lgamma(a)
	lb, _ := math.Lgamma(b)
	lab, _ := math.Lgamma(a + b)
	front := math.Exp(lab-la-lb+a*math.Log(x)+b*math.Log1p(-x)) / a
	const tiny = 1e-300
	f, c, d := 1.0, 1.0, 0.0
	for i := range 500 {
		m := float64(i / 2)
		var numerator float64
		switch {
		case i == 0:
			numerator = 1
		case i%2 == 0:
			numerator = m * (b - m) * x / ((a + 2*m - 1) * (a + 2*m))
		default:
			numerator = -(a + m) * (a + b + m) * x / ((a + 2*m) * (a + 2*m + 1))
		}
		d = 1 + numerator*d
		if math.Abs(d) < tiny {
			d = tiny
		}
		d = 1 / d
		c = 1 + numerator/c
		if math.Abs(c) < tiny {
			c = tiny
		}
		f *= c * d
		if math.Abs(1-c*d) < 1e-14 {
			break
		}
	}
	return front * (f - 1)
}
