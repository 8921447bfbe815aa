#include "kernels/cuda/device/cuda_check.h"
#include "kernels/cuda/device/graph.h"

namespace tessera::kernels::cuda {
namespace {

class CudaGraph final : public Graph {
 public:
  explicit CudaGraph(cudaGraphExec_t executable) : executable_(executable) {}
  ~CudaGraph() override { cudaGraphExecDestroy(executable_); }
  CudaGraph(const CudaGraph&) = delete;
  CudaGraph& operator=(const CudaGraph&) = delete;

  void launch(Stream stream) const override {
    TESSERA_CUDA_CHECK(cudaGraphLaunch(executable_, stream));
  }

 private:
  cudaGraphExec_t executable_;
};

}  // namespace

Capture::Capture(Stream stream) : stream_(stream) {
  // Of this thread: other ranks' threads may allocate meanwhile.
  TESSERA_CUDA_CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
}

Capture::~Capture() {
  if (finished_) return;
  cudaGraph_t graph = nullptr;
  cudaStreamEndCapture(stream_, &graph);
  if (graph != nullptr) cudaGraphDestroy(graph);
  cudaGetLastError();  // of what broke the capture
}

std::unique_ptr<Graph> Capture::finish() {
  finished_ = true;
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;
  cudaError_t status = cudaStreamEndCapture(stream_, &graph);
  if (status == cudaSuccess) status = cudaGraphInstantiate(&executable, graph, 0);
  if (graph != nullptr) cudaGraphDestroy(graph);
  if (status != cudaSuccess) cudaGetLastError();
  TESSERA_CHECK_AS(ErrorCode::kDevice, status == cudaSuccess,
                   "a CUDA graph cannot be made: ", cudaGetErrorName(status), ", ",
                   cudaGetErrorString(status), ": --eager does without");
  auto made = std::make_unique<CudaGraph>(executable);
  TESSERA_CUDA_CHECK(cudaGraphUpload(executable, stream_));
  return made;
}

bool is_captured(Stream stream) {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  TESSERA_CUDA_CHECK(cudaStreamIsCapturing(stream, &status));
  return status != cudaStreamCaptureStatusNone;
}

}  // namespace tessera::kernels::cuda
