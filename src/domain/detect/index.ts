export {
  type Burst,
  type CompareOptions,
  createDetector,
  type Detector,
  type DetectorOptions,
  type DetectorState,
  type Result,
  type ThresholdOptions,
} from './detector.ts';
