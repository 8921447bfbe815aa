#include "coordinator/text/read_file.h"

#include <fstream>
#include <sstream>

#include "common/base/error.h"

namespace tessera {

std::string read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream content;
  TESSERA_REQUIRE(file && content << file.rdbuf(), path.string(), " cannot be read");
  return content.str();
}

}  // namespace tessera
