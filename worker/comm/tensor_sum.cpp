#include "worker/comm/tensor_sum.h"

#include <vector>

#include "common/base/error.h"
#include "worker/comm/device_sum.h"

namespace tessera {
namespace {

class SingleSum final : public TensorSum {
 public:
  void all_reduce_tree(std::span<float>) override {}
  bool is_capturable() const override { return true; }
};

class HostSum final : public TensorSum {
 public:
  explicit HostSum(Communicator& communicator) : communicator_(communicator) {}

  void all_reduce_tree(std::span<float> values) override { communicator_.all_reduce_tree(values); }
  bool is_capturable() const override { return false; }

 private:
  Communicator& communicator_;
};

// Memory of a device goes through the host's, and the sum waits for the device.
class StagedSum final : public TensorSum {
 public:
  StagedSum(Communicator& communicator, kernels::Backend& backend, std::int64_t max_count)
      : communicator_(communicator),
        backend_(backend),
        staging_(static_cast<std::size_t>(max_count)) {}

  void all_reduce_tree(std::span<float> values) override {
    TESSERA_REQUIRE(values.size() <= staging_.size(), "a sum of ", values.size(),
                    " values over ranks; there is room for ", staging_.size());
    const std::span<float> host = std::span(staging_).first(values.size());
    const auto num_bytes = static_cast<std::int64_t>(values.size_bytes());
    backend_.download(values.data(), host.data(), num_bytes);
    communicator_.all_reduce_tree(host);
    backend_.upload(host.data(), values.data(), num_bytes);
  }

  bool is_capturable() const override { return false; }

 private:
  Communicator& communicator_;
  kernels::Backend& backend_;
  std::vector<float> staging_;
};

}  // namespace

std::unique_ptr<TensorSum> create_tensor_sum(Communicator& communicator,
                                             DeviceExchange* exchange,
                                             kernels::Backend& backend,
                                             std::int64_t max_count) {
  if (communicator.size() == 1) return std::make_unique<SingleSum>();
  if (backend.computes_in_host_memory()) return std::make_unique<HostSum>(communicator);
  if (exchange != nullptr) return std::make_unique<DeviceSum>(*exchange, backend, max_count);
  return std::make_unique<StagedSum>(communicator, backend, max_count);
}

}  // namespace tessera
