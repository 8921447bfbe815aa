#include "coordinator/scheduling/engine.h"

#include <utility>

#include "coordinator/scheduling/engine_impl.h"

namespace tessera {

Engine::Engine(const EngineOptions& options, const Clock& clock)
    : impl_(std::make_unique<Impl>(options, clock)) {}

Engine::~Engine() = default;

void Engine::submit(SequenceRequest request) {
  impl_->submit(std::move(request));
}

void Engine::cancel(RequestId id) {
  impl_->cancel(id);
}

std::optional<SequenceFailure> Engine::refusal() const {
  return impl_->refusal();
}

void Engine::add_replica(ReplicaId id, std::uint64_t epoch, std::int32_t num_pages) {
  impl_->add_replica(id, epoch, num_pages);
}

void Engine::remove_replica(ReplicaId id) {
  impl_->remove_replica(id);
}

std::optional<StepPlan> Engine::next_step(ReplicaId id) {
  return impl_->next_step(id);
}

void Engine::apply(ReplicaId id, const StepResult& result) {
  impl_->apply(id, result);
}

void Engine::expire() {
  impl_->expire();
}

std::optional<TimePoint> Engine::next_deadline() const {
  return impl_->next_deadline();
}

void Engine::drain() {
  impl_->drain();
}

void Engine::fail_all(const SequenceFailure& failure) {
  impl_->fail_all(failure);
}

std::vector<SequenceUpdate> Engine::take_updates() {
  return impl_->take_updates();
}

bool Engine::is_idle() const {
  return impl_->is_idle();
}

EngineStats Engine::stats() const {
  return impl_->stats();
}

void Engine::check_integrity() const {
  impl_->check_integrity();
}

}  // namespace tessera
