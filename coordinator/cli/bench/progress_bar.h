#pragma once

#include <cstdint>
#include <iosfwd>
#include <string>

#include "common/base/clock.h"

namespace tessera {

/// One line that is drawn again and again: "16 at a time [#####     ]  52/100  3.1/s  2 failed".
/// Draws at most ten times a second; erases itself in the end.
class ProgressBar {
 public:
  /// @param out  A terminal, or null for no drawing.
  ProgressBar(std::ostream* out, const Clock& clock, std::string title, std::size_t total);
  ~ProgressBar();
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  /// One more is done.
  void advance(bool is_ok);

 private:
  void draw();

  std::ostream* out_;
  const Clock& clock_;
  std::string title_;
  std::size_t total_;
  std::size_t num_done_ = 0;
  std::size_t num_failed_ = 0;
  TimePoint start_;
  TimePoint next_draw_;
};

}  // namespace tessera
