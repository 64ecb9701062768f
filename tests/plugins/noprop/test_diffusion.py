"""The diffusion beside Gaussian algebra, written a second time."""

import pytest
import torch

from ffcore_noprop.diffusion import Diffusion

T, K = 7, 4


def alpha_bars(steps):
    angle = torch.pi / 2 * torch.arange(1, steps + 2, dtype=torch.float64) / (steps + 2)
    return angle.sin() ** 2


@pytest.fixture
def double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def test_the_posterior_is_the_joint_gaussian_conditioned_on_the_noisier_label(double):
    made, bars = Diffusion(T), alpha_bars(T)
    for t in range(1, T + 1):
        alpha = bars[t - 1] / bars[t]
        # of (z_t, z_{t−1}) for u = 1: z_t = √ᾱ_t + √(1 − ᾱ_t) e, z_{t−1} = √α z_t + √(1 − α) e'
        mean = torch.stack([bars[t].sqrt(), (alpha * bars[t]).sqrt()])
        load = torch.stack(
            [
                torch.stack([(1 - bars[t]).sqrt(), torch.tensor(0.0)]),
                torch.stack([(alpha * (1 - bars[t])).sqrt(), (1 - alpha).sqrt()]),
            ]
        )
        cov = load @ load.T
        slope = cov[0, 1] / cov[1, 1]
        torch.testing.assert_close(made.b[t - 1], slope, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(made.a[t - 1], mean[0] - slope * mean[1], rtol=1e-12, atol=1e-12)


def test_steps_of_the_noising_chain_give_the_marginals_of_the_schedule(double):
    made, bars = Diffusion(T), alpha_bars(T)
    mean, variance = bars[T].sqrt(), 1 - bars[T]
    for t in range(T, 0, -1):
        alpha = bars[t - 1] / bars[t]
        mean, variance = alpha.sqrt() * mean, alpha * variance + 1 - alpha
        torch.testing.assert_close(made.signal[t - 1], mean)
        torch.testing.assert_close(made.noise[t - 1].square(), variance)
        torch.testing.assert_close(made.signal[t - 1].square() + variance, torch.tensor(1.0))


def test_noised_labels_have_the_mean_and_the_variance_of_the_schedule():
    made, generator = Diffusion(T), torch.Generator().manual_seed(0)
    u = torch.eye(K)[2].expand(20_000, K)
    z = torch.stack([made.noised(t, u, torch.randn(20_000, K, generator=generator)) for t in range(T)])
    right = made.signal.view(T, 1) * torch.eye(K)[2]
    torch.testing.assert_close(z.mean(1), right, rtol=0, atol=0.03)
    torch.testing.assert_close(z.var(1), (made.noise**2).view(T, 1).expand(T, K), rtol=0.05, atol=0)


def test_later_blocks_get_labels_with_less_noise_and_gains_are_of_the_ratio_of_both():
    made, bars = Diffusion(T), alpha_bars(T)
    assert (made.signal.diff() > 0).all()
    snr = bars / (1 - bars)
    assert made.gains == pytest.approx((T * (snr[1:] - snr[:-1])).tolist())


def test_a_chain_of_perfect_estimates_ends_at_the_last_mean(double):
    made, u = Diffusion(T), torch.eye(K)[1:3]
    seen = []

    def block(x, z):
        seen.append(z)
        return 1e6 * u  # softmax is u

    made.chained([block] * T, torch.zeros(2, 1), made.signal[0] * u)
    for t, z in enumerate(seen):
        torch.testing.assert_close(z, made.signal[t] * u)
