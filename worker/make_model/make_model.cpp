#include "worker/make_model/make_model.h"

#include <system_error>

#include "common/base/error.h"
#include "common/model_spec/model_spec.h"
#include "worker/make_model/text_file.h"
#include "worker/make_model/tokenizer_files.h"
#include "worker/model/tensor_names.h"
#include "worker/weights/checkpoint_writer.h"
#include "worker/weights/dummy_source.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;

/// The directory that the model grows in; removed unless it was finished.
class PartialModel {
 public:
  explicit PartialModel(const fs::path& output_dir)
      : output_dir_(output_dir), path_(output_dir.string() + ".partial") {
    fs::remove_all(path_);  // of a run that was killed
    fs::create_directories(path_);
  }
  ~PartialModel() {
    std::error_code ignored;  // a destructor; after finish() there is nothing left to remove
    fs::remove_all(path_, ignored);
  }
  PartialModel(const PartialModel&) = delete;
  PartialModel& operator=(const PartialModel&) = delete;

  const fs::path& path() const { return path_; }
  void finish() const { fs::rename(path_, output_dir_); }

 private:
  fs::path output_dir_;
  fs::path path_;
};

void check_output(const MakeModelOptions& options) {
  const fs::path& directory = options.output_dir;
  if (!fs::exists(directory)) return;
  TESSERA_REQUIRE(options.replace, directory.string(), ": exists; --force replaces it");
  const bool is_model = fs::is_directory(directory) &&
                        (fs::is_empty(directory) || fs::exists(directory / "config.json"));
  TESSERA_REQUIRE(is_model, directory.string(),
                  ": is no model directory (it has no config.json) and is not replaced");
}

void write_small_files(const MakeModelOptions& options, const fs::path& model_dir) {
  if (options.config_file.empty()) {
    nlohmann::ordered_json config = config_of(options.shape, name_of(options.dtype));
    adopt_token_ids(options.tokenizer_dir, config);
    write_text(model_dir / "config.json", config.dump(/*indent=*/2) + "\n");
  } else {
    TESSERA_REQUIRE(fs::is_regular_file(options.config_file), options.config_file.string(),
                    ": cannot be read");
    fs::copy_file(options.config_file, model_dir / "config.json");
  }
  copy_tokenizer(options.tokenizer_dir, model_dir);
  if (!fs::exists(model_dir / "generation_config.json")) {
    write_text(model_dir / "generation_config.json", "{}\n");
  }
}

std::int64_t bytes_in(const fs::path& directory) {
  std::int64_t bytes = 0;
  if (!fs::exists(directory)) return bytes;
  for (const fs::directory_entry& entry : fs::directory_iterator(directory)) {
    if (entry.is_regular_file()) bytes += static_cast<std::int64_t>(entry.file_size());
  }
  return bytes;
}

// What is about to be replaced makes room, too.
void check_room(const fs::path& output_dir, const fs::path& partial, std::int64_t num_bytes) {
  const std::int64_t room =
      static_cast<std::int64_t>(fs::space(partial).available) + bytes_in(output_dir);
  TESSERA_REQUIRE(num_bytes <= room, output_dir.string(), ": the weights take ", num_bytes,
                  " bytes, the disk has room for ", room);
}

std::int64_t num_elements(const std::vector<TensorDeclaration>& declarations) {
  return checkpoint_bytes(declarations, DType::kBFloat16) / size_of(DType::kBFloat16);
}

}  // namespace

void make_model(const MakeModelOptions& options, const MakeModelEvents& events) {
  check_output(options);
  const PartialModel partial(options.output_dir);
  write_small_files(options, partial.path());
  const ModelSpec spec = read_model_spec(partial.path());
  if (options.pad_vocabulary) pad_tokenizer(partial.path(), spec.vocab_size);

  const std::vector<TensorDeclaration> declarations = declare_tensors(spec);
  const std::int64_t num_bytes = checkpoint_bytes(declarations, options.dtype);
  events.on_start({spec.family, num_elements(declarations), num_bytes});
  check_room(options.output_dir, partial.path(), num_bytes);
  if (options.replace) fs::remove_all(options.output_dir);
  DummySource source(declarations, options.seed);
  write_checkpoint(partial.path(), declarations, source, {options.dtype, options.max_shard_bytes},
                   events.on_progress);
  partial.finish();
}

}  // namespace tessera
