#include "common/wire/codec.h"

#include <capnp/message.h>
#include <capnp/serialize.h>
#include <kj/exception.h>
#include <kj/io.h>

#include <cstring>
#include <string>

#include "common/base/error.h"
#include "common/wire/step_codec.h"

namespace tessera::wire {
namespace {

constexpr std::uint32_t kMagic = 0x41535354;  // "TSSA" in memory
constexpr std::size_t kControlWords = 128;

class VectorStream final : public kj::OutputStream {
 public:
  explicit VectorStream(Bytes& bytes) : bytes_(bytes) {}

  void write(const void* buffer, std::size_t size) override {
    const auto* begin = static_cast<const std::byte*>(buffer);
    bytes_.insert(bytes_.end(), begin, begin + size);
  }

 private:
  Bytes& bytes_;
};

schema::Frame::Builder start_frame(capnp::MallocMessageBuilder& builder,
                                   std::uint64_t epoch,
                                   std::uint64_t step) {
  auto frame = builder.initRoot<schema::Frame>();
  frame.setMagic(kMagic);
  frame.setVersion(kSchemaVersion);
  frame.setEpoch(epoch);
  frame.setStep(step);
  return frame;
}

Bytes finish_frame(capnp::MallocMessageBuilder& builder) {
  Bytes bytes;
  bytes.reserve(capnp::computeSerializedSizeInWords(builder) * sizeof(capnp::word));
  VectorStream stream(bytes);
  capnp::writeMessage(stream, builder);
  TESSERA_CHECK(bytes.size() <= kMaxFrameBytes, "a frame of ", bytes.size(), " bytes");
  return bytes;
}

std::string text(capnp::Text::Reader from) {
  return {from.begin(), from.size()};
}

void write(const Hello& hello, schema::Frame::Builder frame) {
  auto to = frame.initHello();
  to.setJobId(hello.job_id);
  to.setToken(hello.token);
  to.setRank(hello.rank);
  to.setTp(hello.tp);
  to.setHost(hello.host);
  to.setDevice(hello.device);
  to.setCheckpointDigest(hello.checkpoint_digest);
  to.setKvBytesPerToken(hello.kv_bytes_per_token);
  to.setKvMemoryBytes(hello.kv_memory_bytes);
  to.setExpertParallel(hello.expert_parallel);
}

Hello read(schema::Hello::Reader from) {
  return {text(from.getJobId()),
          text(from.getToken()),
          from.getRank(),
          from.getTp(),
          text(from.getHost()),
          text(from.getDevice()),
          text(from.getCheckpointDigest()),
          from.getKvBytesPerToken(),
          from.getKvMemoryBytes(),
          from.getExpertParallel()};
}

void write(const Welcome& welcome, schema::Frame::Builder frame) {
  auto to = frame.initWelcome();
  to.setPageSize(welcome.page_size);
  to.setNumPages(welcome.num_pages);
  to.setMaxStepRows(welcome.max_step_rows);
  to.setMaxModelLen(welcome.max_model_len);
  to.setMaxSequences(welcome.max_sequences);
  to.setHeartbeatIntervalMs(static_cast<std::int32_t>(welcome.heartbeat_interval.count()));
}

Welcome read(schema::Welcome::Reader from) {
  const Welcome welcome{
      from.getPageSize(),     from.getNumPages(),
      from.getMaxStepRows(),  from.getMaxModelLen(),
      from.getMaxSequences(), std::chrono::milliseconds(from.getHeartbeatIntervalMs())};
  TESSERA_CHECK_TRANSPORT(welcome.page_size > 0 && welcome.num_pages > 0 &&
                              welcome.max_step_rows > 0 && welcome.max_model_len > 0 &&
                              welcome.max_sequences > 0 && welcome.heartbeat_interval.count() > 0,
                          "wire: a welcome with a size or a time that is not positive");
  return welcome;
}

void write(const Ready&, schema::Frame::Builder frame) {
  frame.setReady();
}

void write(const Heartbeat& heartbeat, schema::Frame::Builder frame) {
  auto to = frame.initHeartbeat();
  to.setJobId(heartbeat.job_id);
  to.setToken(heartbeat.token);
  to.setRank(heartbeat.rank);
}

Heartbeat read(schema::Heartbeat::Reader from) {
  return {text(from.getJobId()), text(from.getToken()), from.getRank()};
}

void write(const RankFailure& failure, schema::Frame::Builder frame) {
  auto to = frame.initRankFailure();
  to.setCode(static_cast<std::uint8_t>(failure.code));
  to.setMessage(failure.message);
}

RankFailure read(schema::RankFailure::Reader from) {
  TESSERA_CHECK_TRANSPORT(from.getCode() <= static_cast<std::uint8_t>(ErrorCode::kTransport),
                          "wire: error code ", static_cast<int>(from.getCode()), " is unknown");
  return {static_cast<ErrorCode>(from.getCode()), text(from.getMessage())};
}

void write(const Goodbye& goodbye, schema::Frame::Builder frame) {
  auto to = frame.initGoodbye();
  to.setKind(static_cast<std::uint8_t>(goodbye.kind));
  to.setReason(goodbye.reason);
}

Goodbye read(schema::Goodbye::Reader from) {
  TESSERA_CHECK_TRANSPORT(from.getKind() <= static_cast<std::uint8_t>(GoodbyeKind::kLost),
                          "wire: kind of goodbye ", static_cast<int>(from.getKind()),
                          " is unknown");
  return {static_cast<GoodbyeKind>(from.getKind()), text(from.getReason())};
}

void write(const StepPlan& plan, schema::Frame::Builder frame) {
  write_plan(plan, frame.initStepPlan());
}

void write(const StepResult& result, schema::Frame::Builder frame) {
  write_result(result, frame.initStepResult());
}

Message read_message(schema::Frame::Reader frame) {
  switch (frame.which()) {
    case schema::Frame::HELLO: return read(frame.getHello());
    case schema::Frame::WELCOME: return read(frame.getWelcome());
    case schema::Frame::READY: return Ready{};
    case schema::Frame::HEARTBEAT: return read(frame.getHeartbeat());
    case schema::Frame::RANK_FAILURE: return read(frame.getRankFailure());
    case schema::Frame::GOODBYE: return read(frame.getGoodbye());
    case schema::Frame::STEP_PLAN: {
      StepPlan plan;
      plan.epoch = frame.getEpoch();
      plan.step = frame.getStep();
      read_plan(frame.getStepPlan(), plan);
      return plan;
    }
    case schema::Frame::STEP_RESULT: {
      StepResult result;
      result.epoch = frame.getEpoch();
      result.step = frame.getStep();
      read_result(frame.getStepResult(), result);
      return result;
    }
    case schema::Frame::NONE: break;
  }
  throw Error(ErrorCode::kTransport, "wire: a frame of unknown kind");
}

Frame read_frame(kj::ArrayPtr<const capnp::word> words) {
  capnp::ReaderOptions options;
  // Every word is visited once, plus the headers of lists; more means pointers that overlap.
  options.traversalLimitInWords = 2 * words.size() + 64;
  capnp::FlatArrayMessageReader reader(words, options);
  const auto root = reader.getRoot<schema::Frame>();
  TESSERA_CHECK_TRANSPORT(root.getMagic() == kMagic, "wire: not a frame of this program");
  TESSERA_CHECK_TRANSPORT(root.getVersion() == kSchemaVersion, "wire: the peer speaks version ",
                          root.getVersion(), ", this program version ", kSchemaVersion,
                          "; use one build for coordinator and workers");
  return {root.getEpoch(), root.getStep(), read_message(root)};
}

}  // namespace

Bytes encode(const StepPlan& plan) {
  capnp::MallocMessageBuilder builder(static_cast<unsigned>(estimated_words(plan)));
  write(plan, start_frame(builder, plan.epoch, plan.step));
  return finish_frame(builder);
}

Bytes encode(const StepResult& result) {
  capnp::MallocMessageBuilder builder(static_cast<unsigned>(estimated_words(result)));
  write(result, start_frame(builder, result.epoch, result.step));
  return finish_frame(builder);
}

Bytes encode(std::uint64_t epoch, const Message& message) {
  capnp::MallocMessageBuilder builder(kControlWords);
  auto frame = start_frame(builder, epoch, /*step=*/0);
  std::visit([&](const auto& value) { write(value, frame); }, message);
  return finish_frame(builder);
}

Frame decode(std::span<const std::byte> bytes) {
  TESSERA_CHECK_TRANSPORT(
      !bytes.empty() && bytes.size() % sizeof(capnp::word) == 0 && bytes.size() <= kMaxFrameBytes,
      "wire: a frame of ", bytes.size(), " bytes");
  const std::size_t num_words = bytes.size() / sizeof(capnp::word);
  auto words = kj::heapArray<capnp::word>(num_words);
  std::memcpy(words.begin(), bytes.data(), bytes.size());
  try {
    return read_frame(words.asPtr());
  } catch (const kj::Exception& exception) {
    throw Error(ErrorCode::kTransport,
                std::string("wire: damaged frame: ") + exception.getDescription().cStr());
  }
}

}  // namespace tessera::wire
