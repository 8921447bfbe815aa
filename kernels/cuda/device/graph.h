#pragma once

#include <memory>

#include "kernels/cuda/device/types.h"

namespace tessera::kernels::cuda {

/// What a stream was given, arguments and all, to be run again and again as one launch.
class Graph {
 public:
  virtual ~Graph() = default;

  /// Behind what `stream` has. @throws Error{kDevice} if the GPU refuses.
  virtual void launch(Stream stream) const = 0;
};

/// While it lives, kernels and copies that this thread gives to a stream are kept instead of run.
/// Waiting for the stream and allocating memory are errors meanwhile, after which there is no
/// graph.
class Capture {
 public:
  /// @throws Error{kDevice} if the stream is captured already.
  explicit Capture(Stream stream);

  /// Without finish(): drops what was kept.
  ~Capture();
  Capture(const Capture&) = delete;
  Capture& operator=(const Capture&) = delete;

  /// @throws Error{kDevice} if no graph can be made of what was kept.
  std::unique_ptr<Graph> finish();

 private:
  Stream stream_;
  bool finished_ = false;
};

/// Whether a Capture of the stream lives.
bool is_captured(Stream stream);

}  // namespace tessera::kernels::cuda
