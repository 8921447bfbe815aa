#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "common/base/error.h"

namespace tessera {

/// A directory of its own under the system's temporary one, removed at the end.
class TemporaryDirectory {
 public:
  TemporaryDirectory();
  ~TemporaryDirectory();
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

/// A tensor of a file made for a test.
struct TestTensor {
  std::string name;
  std::string dtype;  ///< "F32", "BF16", "F16", or another of the format.
  std::vector<std::int64_t> shape;
  std::string bytes;
};

/// The tensor with random bits: any value of the type, none of them NaN.
TestTensor random_tensor(const std::string& name,
                         const std::string& dtype,
                         const std::vector<std::int64_t>& shape,
                         std::uint32_t seed);

/// Element as fp32.
float element_of(const TestTensor& tensor, std::int64_t index);

/// Bytes of a safetensors file with this header text.
std::string file_with_header(const std::string& header, const std::string& data);

/// Bytes of a safetensors file that holds these tensors in this order.
std::string file_with_tensors(const std::vector<TestTensor>& tensors);

void write_file(const std::filesystem::path& path, const std::string& bytes);

/// What `call` says in its Error{kInvalidArgument}; "" if it does not throw one.
template <typename Call>
std::string refusal_of(const Call& call) {
  try {
    call();
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kInvalidArgument) return error.what();
    throw;
  }
  return "";
}

}  // namespace tessera
