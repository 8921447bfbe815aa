#include "tests/worker/weights/test_checkpoint.h"

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>

#include "common/tensor/float_formats.h"

namespace tessera {

namespace fs = std::filesystem;

TemporaryDirectory::TemporaryDirectory() {
  std::string name = (fs::temp_directory_path() / "tessera-weights-XXXXXX").string();
  TESSERA_CHECK(mkdtemp(name.data()) != nullptr, "no temporary directory ", name);
  path_ = name;
}

TemporaryDirectory::~TemporaryDirectory() {
  std::error_code ignored;  // a destructor; what is left lies in the temporary directory
  fs::remove_all(path_, ignored);
}

TestTensor random_tensor(const std::string& name,
                         const std::string& dtype,
                         const std::vector<std::int64_t>& shape,
                         std::uint32_t seed) {
  std::mt19937 rng(seed);
  TestTensor tensor{name, dtype, shape, {}};
  std::int64_t count = 1;
  for (const std::int64_t size : shape) count *= size;
  for (std::int64_t i = 0; i < count; ++i) {
    std::uint32_t bits = rng();
    // No NaN and no infinity: an exponent bit is cleared.
    bits &= dtype == "F16" ? ~0x4000U : dtype == "BF16" ? ~0x0080U : ~0x00800000U;
    tensor.bytes.append(reinterpret_cast<const char*>(&bits), dtype == "F32" ? 4 : 2);
  }
  return tensor;
}

float element_of(const TestTensor& tensor, std::int64_t index) {
  const DType dtype = tensor.dtype == "F32"    ? DType::kFloat32
                      : tensor.dtype == "BF16" ? DType::kBFloat16
                                               : DType::kFloat16;
  float wide = 0.0F;  // aligned copy
  std::memcpy(&wide, tensor.bytes.data() + index * size_of(dtype),
              static_cast<std::size_t>(size_of(dtype)));
  return load_element(&wide, dtype, 0);
}

std::string file_with_header(const std::string& header, const std::string& data) {
  std::string file;
  for (std::size_t i = 0; i < 8; ++i) file += static_cast<char>(header.size() >> (8 * i));
  return file + header + data;
}

std::string file_with_tensors(const std::vector<TestTensor>& tensors) {
  nlohmann::json header = nlohmann::json::object();
  std::string data;
  for (const TestTensor& tensor : tensors) {
    const std::size_t begin = data.size();
    data += tensor.bytes;
    header[tensor.name] = {{"dtype", tensor.dtype}, {"shape", tensor.shape}};
    header[tensor.name]["data_offsets"] = {begin, data.size()};
  }
  return file_with_header(header.dump(), data);
}

void write_file(const fs::path& path, const std::string& bytes) {
  std::ofstream out(path, std::ios::binary);
  out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  TESSERA_CHECK(out.good(), "cannot write ", path.string());
}

}  // namespace tessera
