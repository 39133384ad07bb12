"""Reference values for src/domain/detect, at 50 digits, independent of the code: python3 scripts/detect-reference.py > src/domain/detect/fixtures/reference.json (needs mpmath)."""

import json

from mpmath import findroot, log, loggamma, mp, mpf, exp

mp.dps = 50


def text(value):
    return float(value)


def lgamma_cases():
    points = ["1e-3", "0.2", "0.5", "1.5", "3", "7.25", "11.99", "12", "33.3", "1e3", "49999.7", "1e7"]
    return [[float(x), text(loggamma(mpf(float(x))))] for x in points]


def count_cases():
    cases = []
    for n, k, p0, theta, rho in [(100, 10, 0.05, 0.1, 0.02), (2500, 40, 0.01, 0.03, 0.002), (7, 7, 0.001, 0.5, 0.1), (500, 0, 0.05, 0.2, 0.0002), (60, 6, 0.05, 0.1, 0)]:
        p, t = mpf(p0), mpf(theta)
        if rho == 0:
            l = k * log(t / p) + (n - k) * log((1 - t) / (1 - p))
        else:
            s = 1 / mpf(rho) - 1

            def part(q):
                return loggamma(k + s * q) - loggamma(s * q) + loggamma(n - k + s * (1 - q)) - loggamma(s * (1 - q))

            if s * (t - p) < 1:
                c = s * (t - p)
                t = min(p + 1 / s, (1 + p) / 2)
            else:
                c = mpf(1)
            l = part(t) - part(p)
            cases.append([n, k, p0, theta, rho, text(1 + c * (1 - mpf("0.1")) * (exp(l) - 1))])
            continue
        cases.append([n, k, p0, theta, rho, text(1 + (1 - mpf("0.1")) * (exp(l) - 1))])
    return cases


def compare_cases():
    cases = []
    for n, k, m, x, r, d, t0, g in [(100, 8, 900, 9, 2, 0, 0.01, 1), (50, 5, 50, 1, 1, 0.02, 0.02, 0.5), (1000, 15, 9000, 90, 1, 0.005, 0.01, 0.25)]:
        r_, d_, t0_ = mpf(r), mpf(d), mpf(t0)
        a = r_ * t0_ + d_
        odds = a / (1 - a) * exp(mpf(g))
        t1 = odds / (1 + odds)

        def slope(q):
            w = r_ * q + d_
            return n * r_ * (w - t1) / (w * (1 - w)) + m * (q - t0_) / (q * (1 - q))

        q0 = findroot(slope, (t0_ + mpf("1e-30"), min((t1 - d_) / r_, 1 - mpf("1e-30"))), solver="anderson", tol=mpf(10) ** -40)
        q1 = r_ * q0 + d_
        l = k * log(t1 / q1) + (n - k) * log((1 - t1) / (1 - q1)) + x * log(t0_ / q0) + (m - x) * log((1 - t0_) / (1 - q0))
        cases.append([n, k, m, x, r, d, t0, g, text(1 + (1 - mpf("0.1")) * (exp(l) - 1))])
    return cases


print(json.dumps({"lgamma": lgamma_cases(), "count": count_cases(), "compare": compare_cases()}, indent=2))
