#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "coordinator/cli/client/stream_chunk.h"
#include "coordinator/cli/generate/denoising_screen.h"
#include "coordinator/cli/generate/denoising_view.h"

namespace tessera {

/// Prints the chunks of one answer to standard output as they arrive: the text as it freezes, or
/// the whole picture redrawn.
class AnswerPrinter {
 public:
  explicit AnswerPrinter(bool shows_denoising) : shows_denoising_(shows_denoising) {}

  void take(const StreamChunk& chunk);

  /// At the end of the stream: completes the last line.
  void finish();

  /// Why the request failed on its way, if it did.
  const std::optional<std::string>& error() const noexcept { return error_; }

  /// "42 tokens in 0.52 s (80.8 tokens/s), 20 steps, 2.10 tokens per step, seed 7"
  std::string summary(std::chrono::nanoseconds duration) const;

 private:
  bool shows_denoising_;
  DenoisingView view_;
  DenoisingScreen screen_;
  std::optional<StreamUsage> usage_;
  std::string finish_reason_;
  std::optional<std::string> error_;
};

}  // namespace tessera
