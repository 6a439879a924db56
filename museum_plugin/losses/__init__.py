"""The formulas that are minimised: pure functions of tensors, one formula each, no state, no model.

    denoising.py               (B,)    mean (pred - target)^2; SNR = a / (1 - a); weights of a sample by its SNR
    robust.py                  (B,...) |pred - target|; pseudo-Huber; smooth L1; their thresholds
    noise.py                   (B,...) noise + offset * shift; noise with coarse parts; noise + gamma * more noise
    style_distillation.py      (B,)    KL(softmax(pred_x0 / T) || softmax(style_mean / T)), and its factor alpha_bar_t
    weight_regularization.py   scalar  mean over modules of 1 - cos(delta_now, delta_previous);
                                       mean over modules of tr(D C D^T) / energy, D = delta_now - delta_previous
    feature_regularization.py  (B,)    mean over blocks of mean (now - before)^2 / mean before^2
    function_lock.py           (B,)    mean (pred - teacher_pred)^2; scalar: mean over styles of the mean in each style
    elastic_weights.py         scalar  sum F (theta - theta_before)^2, F the mean squared gradient of <noise, pred>
    self_regularization.py     scalar  sum (delta_before * (delta_now - delta_before))^2 / sum delta_before^4
    orthogonality.py           scalar  mean over modules of ||A A_old^T||^2 / (||A||^2 ||A_old||^2)

A loss is unweighted and has one value per sample, (B,); a penalty is an unweighted scalar. Whoever calls multiplies by
the weight. float16 and bfloat16 are computed in float32, float64 stays float64. Teachers never receive a gradient.
Arguments that cannot be right are a programmer's mistake: ValueError, not one of the user's errors.
"""
