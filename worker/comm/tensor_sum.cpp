#include "worker/comm/tensor_sum.h"

#include <vector>

namespace tessera {
namespace {

class HostSum final : public TensorSum {
 public:
  explicit HostSum(Communicator& communicator) : communicator_(communicator) {}

  void all_reduce_tree(std::span<float> values) override {
    if (communicator_.size() > 1) communicator_.all_reduce_tree(values);
  }

 private:
  Communicator& communicator_;
};

class StagedSum final : public TensorSum {
 public:
  StagedSum(Communicator& communicator, kernels::Backend& backend)
      : communicator_(communicator), backend_(backend) {}

  void all_reduce_tree(std::span<float> values) override {
    if (communicator_.size() == 1) return;
    // Grows in the first steps only.
    if (staging_.size() < values.size()) staging_.resize(values.size());
    const std::span<float> host = std::span(staging_).first(values.size());
    const auto num_bytes = static_cast<std::int64_t>(values.size_bytes());
    backend_.download(values.data(), host.data(), num_bytes);
    communicator_.all_reduce_tree(host);
    backend_.upload(host.data(), values.data(), num_bytes);
  }

 private:
  Communicator& communicator_;
  kernels::Backend& backend_;
  std::vector<float> staging_;
};

}  // namespace

std::unique_ptr<TensorSum> create_tensor_sum(Communicator& communicator,
                                             kernels::Backend& backend) {
  if (backend.computes_in_host_memory()) return std::make_unique<HostSum>(communicator);
  return std::make_unique<StagedSum>(communicator, backend);
}

}  // namespace tessera
