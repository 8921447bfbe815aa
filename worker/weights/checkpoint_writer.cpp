#include "worker/weights/checkpoint_writer.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <nlohmann/json.hpp>
#include <span>
#include <string>

#include "common/base/error.h"
#include "common/tensor/float_formats.h"

namespace tessera {
namespace {

using Declarations = std::vector<TensorDeclaration>;

constexpr std::int64_t kChunkBytes = 4 << 20;

std::int64_t tensor_bytes(const TensorDeclaration& declaration, DType dtype) {
  std::int64_t bytes = size_of(dtype);
  for (const std::int64_t size : declaration.shape) bytes *= size;
  return bytes;
}

std::vector<Declarations> cut_into_shards(const Declarations& declarations,
                                          const CheckpointFormat& format) {
  std::vector<Declarations> shards(1);
  std::int64_t shard_bytes = 0;
  for (const TensorDeclaration& declaration : declarations) {
    const std::int64_t bytes = tensor_bytes(declaration, format.dtype);
    if (!shards.back().empty() && shard_bytes + bytes > format.max_shard_bytes) {
      shards.emplace_back();
      shard_bytes = 0;
    }
    shards.back().push_back(declaration);
    shard_bytes += bytes;
  }
  return shards;
}

std::string shard_name(std::size_t index, std::size_t num_shards) {
  if (num_shards == 1) return "model.safetensors";
  std::array<char, 64> name{};
  std::snprintf(name.data(), name.size(), "model-%05zu-of-%05zu.safetensors", index + 1,
                num_shards);
  return name.data();
}

std::string header_text(const Declarations& tensors, DType dtype) {
  nlohmann::json header = {{"__metadata__", {{"format", "pt"}}}};
  std::int64_t offset = 0;
  for (const TensorDeclaration& tensor : tensors) {
    const std::int64_t end = offset + tensor_bytes(tensor, dtype);
    header[tensor.name] = {{"dtype", dtype == DType::kFloat32 ? "F32" : "BF16"},
                           {"shape", tensor.shape},
                           {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');  // the data begins aligned
  return text;
}

std::int64_t num_rows(const TensorDeclaration& tensor) {
  TESSERA_CHECK(!tensor.shape.empty(), "'", tensor.name, "' has no dimensions");
  return tensor.shape.size() == 1 ? tensor.shape[0] : MatrixShape(tensor.shape).rows;
}

class OutputFile {
 public:
  explicit OutputFile(const std::filesystem::path& path)
      : path_(path.string()), file_(std::fopen(path_.c_str(), "wb"), &std::fclose) {
    TESSERA_CHECK_AS(ErrorCode::kDevice, file_ != nullptr, path_,
                     ": cannot be written: ", std::strerror(errno));
  }

  void write(std::span<const std::byte> bytes) {
    const std::size_t written = std::fwrite(bytes.data(), 1, bytes.size(), file_.get());
    TESSERA_CHECK_AS(ErrorCode::kDevice, written == bytes.size(), path_,
                     ": cannot be written: ", std::strerror(errno));
  }

  /// What is still buffered may fail too.
  void close() {
    TESSERA_CHECK_AS(ErrorCode::kDevice, std::fclose(file_.release()) == 0, path_,
                     ": cannot be written: ", std::strerror(errno));
  }

 private:
  std::string path_;
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file_;
};

class ShardWriter {
 public:
  ShardWriter(TensorSource& source, DType dtype) : source_(source), dtype_(dtype) {}

  /// @param on_bytes  Called with the number of bytes just written.
  template <typename OnBytes>
  void write(const std::filesystem::path& path, const Declarations& tensors, OnBytes on_bytes) {
    OutputFile file(path);
    const std::string header = header_text(tensors, dtype_);
    std::array<std::byte, 8> length{};
    for (std::size_t i = 0; i < length.size(); ++i) {
      length[i] = static_cast<std::byte>(header.size() >> (8 * i));
    }
    file.write(length);
    file.write(std::as_bytes(std::span(header)));
    for (const TensorDeclaration& tensor : tensors) {
      for (std::int64_t row = 0; row < num_rows(tensor);) {
        const std::int64_t rows = read_rows(tensor, row);
        file.write(chunk_);
        on_bytes(static_cast<std::int64_t>(chunk_.size()));
        row += rows;
      }
    }
    file.close();
  }

 private:
  // Fills chunk_ with as many rows from `first` on as it may hold; returns their number.
  std::int64_t read_rows(const TensorDeclaration& tensor, std::int64_t first) {
    const bool is_vector = tensor.shape.size() == 1;
    const std::int64_t cols = is_vector ? 1 : MatrixShape(tensor.shape).cols;
    const std::int64_t row_bytes = cols * size_of(dtype_);
    const std::int64_t fitting =
        std::max<std::int64_t>(1, kChunkBytes / std::max<std::int64_t>(1, row_bytes));
    const std::int64_t rows = std::min(fitting, num_rows(tensor) - first);
    chunk_.resize(static_cast<std::size_t>(rows * row_bytes));
    if (is_vector) {
      put_vector(source_.read_vector(tensor.name, {first, first + rows}));
    } else {
      source_.read_matrix(tensor.name, {first, first + rows}, {0, cols},
                          {chunk_.data(), dtype_, rows, cols, cols});
    }
    return rows;
  }

  void put_vector(const std::vector<float>& values) {
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (dtype_ == DType::kFloat32) {
        reinterpret_cast<float*>(chunk_.data())[i] = values[i];
      } else {
        reinterpret_cast<std::uint16_t*>(chunk_.data())[i] = bfloat16_of_float(values[i]);
      }
    }
  }

  TensorSource& source_;
  DType dtype_;
  std::vector<std::byte> chunk_;
};

}  // namespace

std::int64_t checkpoint_bytes(const Declarations& declarations, DType dtype) {
  std::int64_t bytes = 0;
  for (const TensorDeclaration& declaration : declarations) {
    bytes += tensor_bytes(declaration, dtype);
  }
  return bytes;
}

void write_checkpoint(const std::filesystem::path& model_dir,
                      const Declarations& declarations,
                      TensorSource& source,
                      const CheckpointFormat& format,
                      const std::function<void(std::int64_t, std::int64_t)>& on_progress) {
  TESSERA_CHECK(format.dtype == DType::kFloat32 || format.dtype == DType::kBFloat16,
                "checkpoints of ", name_of(format.dtype));
  const std::vector<Declarations> shards = cut_into_shards(declarations, format);
  const std::int64_t total = checkpoint_bytes(declarations, format.dtype);
  nlohmann::json weight_map = nlohmann::json::object();
  std::int64_t done = 0;
  ShardWriter writer(source, format.dtype);
  for (std::size_t i = 0; i < shards.size(); ++i) {
    const std::string name = shard_name(i, shards.size());
    for (const TensorDeclaration& tensor : shards[i]) weight_map[tensor.name] = name;
    writer.write(model_dir / name, shards[i], [&](std::int64_t bytes) {
      done += bytes;
      on_progress(done, total);
    });
  }
  if (shards.size() == 1) return;
  const nlohmann::json index = {{"metadata", {{"total_size", total}}}, {"weight_map", weight_map}};
  const std::string text = index.dump(/*indent=*/2) + "\n";
  OutputFile file(model_dir / "model.safetensors.index.json");
  file.write(std::as_bytes(std::span(text)));
  file.close();
}

}  // namespace tessera
