#include "coordinator/cli/make_model.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "common/base/error.h"

namespace tessera {

int run_make_model(int argc, const char* const* argv) {
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe");
  const std::string program = self.parent_path() / "tessera-make-model";
  std::vector<std::string> arguments(argv, argv + argc);
  arguments[0] = program;
  std::vector<char*> pointers;
  for (std::string& argument : arguments) pointers.push_back(argument.data());
  pointers.push_back(nullptr);
  execv(program.c_str(), pointers.data());
  TESSERA_CHECK(false, program, " cannot be started: ", std::strerror(errno));
  return 1;
}

}  // namespace tessera
