const halfLogTwoPi = 0.9189385332046728;

/** Natural logarithm of Γ(x) for x > 0: Stirling's series from 8 up, Γ(x + 1) = x Γ(x) below; about 4e-15 relative. */
export function lgamma(x: number): number {
  // The third term of the series is below a hundredth of the last bit here.
  if (x >= 100) {
    const inverse = 1 / x;
    return (x - 0.5) * Math.log(x) - x + halfLogTwoPi + inverse * (1 / 12 - (inverse * inverse) / 360);
  }
  if (x >= 8) return stirling(x);
  let product = 1;
  let shifted = x;
  while (shifted < 8) {
    product *= shifted;
    shifted += 1;
  }
  return stirling(shifted) - Math.log(product);
}

function stirling(x: number): number {
  const inverse = 1 / x;
  const square = inverse * inverse;
  const series =
    inverse *
    (1 / 12 -
      square *
        (1 / 360 - square * (1 / 1260 - square * (1 / 1680 - square * (1 / 1188 - square * (691 / 360360 - square * (1 / 156 - (square * 3617) / 122400)))))));
  return (x - 0.5) * Math.log(x) - x + halfLogTwoPi + series;
}
