import { formatDuration } from '../duration.ts';
import type { BaselineLimit, Condition, Limit, SequentialCondition } from '../rule.ts';
import { trimNumber } from '../words.ts';

/** The condition as one line, for people. */
export function spellCondition(condition: Condition): string {
  switch (condition.kind) {
    case 'expr':
      return condition.expr;
    case 'latency':
      return `latency quantile ${condition.quantile} over ${formatDuration(condition.windowMs)} ${spellLimit(condition.limit, 's')}, min_requests ${condition.minRequests}`;
    case 'error_ratio':
      return `error_ratio over ${formatDuration(condition.windowMs)} ${spellLimit(condition.limit, '')}, min_requests ${condition.minRequests}`;
    case 'sequential':
      return spellSequential(condition);
    case 'request_rate': {
      const { whileOthers, windowMs, limit, minRequests } = condition;
      const others = whileOthers === undefined ? '' : ` while others over ${formatDuration(whileOthers.windowMs)} ${spellLimit(whileOthers.limit, '')}`;
      return `request_rate over ${formatDuration(windowMs)} ${spellLimit(limit, '')}, min_requests ${minRequests}${others}`;
    }
    case 'burn_rate': {
      const pairs = condition.windows.map(({ longMs, shortMs, above }) => `${formatDuration(longMs)} and ${formatDuration(shortMs)} above ${above}`);
      return `burn_rate of ${trimNumber(condition.objective * 100)}% over ${pairs.join(' or ')}, min_requests ${condition.minRequests}`;
    }
    case 'quality': {
      const { of, limit, maxAgeMs } = condition;
      return `quality: ${of.kind} ${of.metric} ${spellLimit(limit, '')}${maxAgeMs === null ? '' : `, max_age ${formatDuration(maxAgeMs)}`}`;
    }
    case 'all':
    case 'any':
      return `${condition.kind} of (${condition.conditions.map(spellCondition).join('; ')})`;
  }
}

function spellSequential({ of, limit, minRequests, healthy, alpha, perMs, burst, severe }: SequentialCondition): string {
  const what = of.kind === 'error_ratio' ? 'error_ratio' : `latency quantile ${of.quantile} (${of.bound})`;
  const more = [
    healthy === null ? [] : [`healthy ${healthy}`],
    severe === null ? [] : [`severe above ${severe.above} for ${formatDuration(severe.forMs)}`],
    burst === 'auto' ? [] : [`burst ${burst}`],
    minRequests === 0 ? [] : [`min_requests ${minRequests}`],
  ];
  const unit = of.kind === 'error_ratio' ? '' : 's';
  return [`${what}, sequential, ${spellLimit(limit, unit)}`, `false_alarms ${alpha} per ${formatDuration(perMs)}`, ...more.flat()].join(', ');
}

function spellLimit(limit: Limit | BaselineLimit, unit: string): string {
  if (limit.op !== 'above_baseline') return `${limit.op} ${limit.value}${unit}`;
  const least = limit.andAbove > 0 ? `, and above ${limit.andAbove}${unit}` : '';
  return `above ${limit.times} × baseline + ${limit.byAtLeast}${unit}${least}`;
}
