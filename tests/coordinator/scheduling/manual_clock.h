#pragma once

#include "common/base/clock.h"

namespace tessera {

/// Time that moves only when it is told to.
class ManualClock final : public Clock {
 public:
  TimePoint now() const override { return now_; }
  void advance(Duration duration) { now_ += duration; }

 private:
  TimePoint now_{};
};

}  // namespace tessera
