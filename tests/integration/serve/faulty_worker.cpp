// A tessera-worker that never works: "hang" in TESSERA_TEST_FAULT does not join, a number is the
// exit code it ends with at once.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>

int main() {
  const std::string fault = std::getenv("TESSERA_TEST_FAULT");
  std::fprintf(stderr, "this worker was told to misbehave: %s\n", fault.c_str());
  if (fault != "hang") return std::stoi(fault);
  for (;;) pause();
}
