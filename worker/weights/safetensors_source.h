#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/tensor/dtype.h"
#include "worker/weights/mapped_file.h"
#include "worker/weights/tensor_source.h"

namespace tessera {

/// A second name under which checkpoints repeat a tensor, e.g. a tied head beside the embedding.
struct RepeatedTensor {
  std::string name;
  std::string original;  ///< A declared tensor; the contents must be equal byte for byte.
};

/// What a checkpoint may hold besides the declared tensors.
struct ExtraTensors {
  /// A tensor is skipped if its name ends with one of these.
  std::vector<std::string> skipped_suffixes = {"rotary_emb.inv_freq"};
  std::vector<RepeatedTensor> repeated;
  /// Or begins with one of these.
  std::vector<std::string> skipped_prefixes = {};
};

/// Tensors of a Hugging Face checkpoint: F32, BF16 or F16, one safetensors file or several
/// (checkpoint_files.h).
///
/// Strict: every declared tensor is there exactly once, in its shape, and nothing else is but
/// `extra`. A name that begins with "model." is also found without it, as some exports write it.
///
/// Files are memory-mapped and read slice by slice; pages are read ahead and given back behind the
/// reader, so reading costs little memory if slices are read in ascending order, a few MB at a
/// time. Destroy the source when the weights are packed.
class SafetensorsSource final : public TensorSource {
 public:
  /// Checks the whole inventory; reads no contents but those of repeated tensors.
  /// @throws Error{kInvalidArgument} naming tensor, file, what was expected and what was found.
  SafetensorsSource(const std::filesystem::path& model_dir,
                    const std::vector<TensorDeclaration>& declarations,
                    const ExtraTensors& extra = {});

  void read_matrix(const std::string& name,
                   IndexRange rows,
                   IndexRange cols,
                   const MatrixView& out) override;
  void visit_matrix(const std::string& name,
                    IndexRange rows,
                    IndexRange cols,
                    const UsePart& use) override;
  std::vector<float> read_vector(const std::string& name, IndexRange range) override;
  DType stored_dtype(const std::string& name) const override;
  std::string digest() const override { return digest_; }

 private:
  struct StoredTensor {
    MappedFile* file = nullptr;
    std::int64_t begin = 0;  ///< Byte of the file.
    DType dtype = DType::kFloat32;
    std::vector<std::int64_t> shape;
  };

  // Calls use(begin, end) for parts of the rows of a matrix; reads the file ahead and gives it back
  // behind.
  template <typename Use>
  static void for_each_part(const StoredTensor& tensor, IndexRange rows, const Use& use);

  static ConstMatrixView view_of(const StoredTensor& tensor, IndexRange rows, IndexRange cols);

  const StoredTensor& find(const std::string& name, bool is_vector) const;

  std::vector<std::unique_ptr<MappedFile>> files_;
  std::unordered_map<std::string, StoredTensor> tensors_;  ///< By declared name.
  std::string digest_;
};

}  // namespace tessera
