#include "worker/make_model/text_file.h"

#include <fstream>

#include "common/base/error.h"

namespace tessera {

void write_text(const std::filesystem::path& path, const std::string& text) {
  std::ofstream out(path, std::ios::binary);
  out << text;
  out.close();
  TESSERA_CHECK_AS(ErrorCode::kDevice, out.good(), path.string(), ": cannot be written");
}

}  // namespace tessera
