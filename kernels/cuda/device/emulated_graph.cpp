#include <optional>
#include <utility>

#include "common/base/error.h"
#include "kernels/cuda/device/graph.h"
#include "kernels/cuda/emulation/recording.h"

namespace tessera::kernels::cuda {
namespace {

using Work = std::vector<std::function<void()>>;

thread_local std::optional<Work> recording;
thread_local bool is_broken = false;  // by something that no graph can hold

class EmulatedGraph final : public Graph {
 public:
  explicit EmulatedGraph(Work work) : work_(std::move(work)) {}

  void launch(Stream) const override {
    emulation::forbid_while_recording("the launch of a graph");
    for (const auto& run : work_) run();
  }

 private:
  Work work_;
};

}  // namespace

namespace emulation {

Work* recorded_work() {
  return recording ? &*recording : nullptr;
}

void forbid_while_recording(const char* what) {
  if (!recording) return;
  is_broken = true;
  TESSERA_CHECK_AS(ErrorCode::kDevice, false, what, " while a stream is captured");
}

}  // namespace emulation

Capture::Capture(Stream stream) : stream_(stream) {
  emulation::forbid_while_recording("a capture");
  recording.emplace();
  is_broken = false;
}

Capture::~Capture() {
  if (!finished_) recording.reset();
}

std::unique_ptr<Graph> Capture::finish() {
  finished_ = true;
  Work work = std::move(*recording);
  recording.reset();
  TESSERA_CHECK_AS(ErrorCode::kDevice, !is_broken,
                   "a CUDA graph cannot be made of what was captured: --eager does without");
  return std::make_unique<EmulatedGraph>(std::move(work));
}

bool is_captured(Stream) {
  return recording.has_value();
}

}  // namespace tessera::kernels::cuda
