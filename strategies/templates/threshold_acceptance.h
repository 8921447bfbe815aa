#pragma once

#include <span>

#include "common/decoding/measurement.h"
#include "strategies/templates/block_buffer.h"

namespace tessera {

struct AcceptanceRules {
  double accept_threshold = 0.9;         ///< tau
  double semi_complete_threshold = 0.9;  ///< tau_semi
  bool always_force = false;             ///< Every block is forced.
};

/// Threshold acceptance over a block buffer: what multi_bd and d2f share.
///
/// Every masked position of an active block is measured (c is its confidence):
///
///     H = {masked q : c > tau}
///     H empty and the block is forced: H = {the q of largest c, leftmost among equals}
///
/// Forced is the first block of the buffer, and one whose predecessor had
/// progress >= tau_semi before this step. A block without masks is ready to commit.
class ThresholdAcceptance {
 public:
  ThresholdAcceptance(const BlockBufferRules& buffer, const AcceptanceRules& rules)
      : buffer_(buffer), rules_(rules) {}

  const BlockBuffer& buffer() const noexcept { return buffer_; }

  Span plan(const Sequence& sequence) const;

  StepOutcome apply(Sequence& sequence,
                    const Span& span,
                    std::span<const Measurement> measurements) const;

 private:
  BlockBuffer buffer_;
  AcceptanceRules rules_;
};

/// Measurements of the masked positions of one block, from the left; the first may be a carried
/// one.
class MaskMeasurements {
 public:
  MaskMeasurements(const Measurement* carried, std::span<const Measurement> fresh)
      : carried_(carried), fresh_(fresh) {}

  std::size_t size() const { return fresh_.size() + (carried_ == nullptr ? 0 : 1); }
  const Measurement& operator[](std::size_t i) const {
    if (carried_ == nullptr) return fresh_[i];
    return i == 0 ? *carried_ : fresh_[i - 1];
  }

 private:
  const Measurement* carried_;
  std::span<const Measurement> fresh_;
};

/// Writes H of one active block (see above), left to right.
void accept_by_threshold(const BlockBuffer& buffer,
                         Sequence& sequence,
                         Block& block,
                         const MaskMeasurements& known,
                         double threshold,
                         bool forced,
                         StepOutcome& outcome);

}  // namespace tessera
