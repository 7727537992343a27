"""``terraseam store``: what the prediction store of a job holds, whether it is whole, and what may go."""
